"""What LiteLLM asks of Prisma's command: `prisma migrate deploy`, without Prisma's native engine.

LiteLLM's own migrations are applied in order, each in a transaction, under the lock that Prisma
takes, and written down where Prisma does it: this image and upstream's go on from each other's.
"""

from __future__ import annotations

import hashlib
import os
import sys
import uuid
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg

LOCK = 72707369
"""Of schema-engine/connectors/sql-schema-connector in prisma-engines."""
OF_LIBPQ = ("ssl", "application_name", "options", "connect_timeout", "target_session_attrs")
LEDGER = """
CREATE TABLE IF NOT EXISTS _prisma_migrations (
    id VARCHAR(36) PRIMARY KEY NOT NULL,
    checksum VARCHAR(64) NOT NULL,
    finished_at TIMESTAMPTZ,
    migration_name VARCHAR(255) NOT NULL,
    logs TEXT,
    rolled_back_at TIMESTAMPTZ,
    started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    applied_steps_count INTEGER NOT NULL DEFAULT 0
)
"""
BEGUN = """
SELECT migration_name, started_at FROM _prisma_migrations
WHERE finished_at IS NULL AND rolled_back_at IS NULL ORDER BY started_at
"""
APPLIED = """
SELECT migration_name FROM _prisma_migrations
WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL
"""
FOREIGN = """
SELECT count(*) FROM information_schema.tables
WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'
"""


def connection_text(url: str) -> tuple[str, str]:
    """The address without what only Prisma's engine knows, and the schema it names."""
    parts = urlsplit(url)
    given = parse_qsl(parts.query)
    kept = [(name, value) for name, value in given if name.startswith(OF_LIBPQ)]
    return urlunsplit(parts._replace(query=urlencode(kept))), dict(given).get("schema", "public")


def deploy(directory: Path) -> str:
    """Apply what is not applied yet; returns what was done.

    Raises:
        SystemExit: with Prisma's code of the error, which LiteLLM looks for.
    """
    text, schema = connection_text(os.environ["DATABASE_URL"])
    with psycopg.connect(text, autocommit=True, connect_timeout=10) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        connection.execute("SELECT set_config('search_path', %s, false)", (schema,))
        prepare(connection)
        applied = {name for (name,) in connection.execute(APPLIED)}
        found = sorted(path.parent for path in directory.glob("*/migration.sql"))
        missing = [path for path in found if path.name not in applied]
        for path in missing:
            apply(connection, path.name, (path / "migration.sql").read_bytes())
    return f"{len(missing)} of {len(found)} migrations applied"


def prepare(connection: psycopg.Connection) -> None:
    """A ledger of migrations, none of which was left half-way."""
    ledger = connection.execute("SELECT to_regclass('_prisma_migrations')").fetchone()
    tables = connection.execute(FOREIGN).fetchone()
    if ledger == (None,) and tables != (0,):
        sys.exit("the database has tables, and none of them is LiteLLM's: give it one of its own")
    connection.execute(LEDGER)
    for name, started_at in connection.execute(BEGUN):
        sys.exit(
            "Error: P3009\n\nmigrate found failed migrations in the target database\n"
            f"The `{name}` migration started at {started_at} failed"
        )


def apply(connection: psycopg.Connection, name: str, sql: bytes) -> None:
    """One migration; a failed one stays in the ledger with what the database said."""
    own = str(uuid.uuid4())
    connection.execute(
        "INSERT INTO _prisma_migrations (id, checksum, migration_name) VALUES (%s, %s, %s)",
        (own, hashlib.sha256(sql).hexdigest(), name),
    )
    try:
        # several statements without parameters are one transaction
        connection.execute(sql)
    except psycopg.Error as error:
        connection.execute(
            "UPDATE _prisma_migrations SET logs = %s WHERE id = %s", (str(error), own)
        )
        sys.exit(
            "Error: P3018\n\nA migration failed to apply.\n\n"
            f"Migration name: {name}\n\nDatabase error:\n{error}"
        )
    connection.execute(
        "UPDATE _prisma_migrations SET finished_at = now(), applied_steps_count = 1 WHERE id = %s",
        (own,),
    )


def main(arguments: list[str]) -> None:
    """Run the command that is asked for."""
    if arguments[:2] == ["migrate", "deploy"]:
        sys.stdout.write(deploy(Path("migrations")) + "\n")
    elif arguments == ["--version"]:
        sys.stdout.write("migrate deploy of LiteLLM's migrations, without Prisma's native engine\n")
    else:
        sys.exit(
            f"prisma {' '.join(arguments[:2])} needs Prisma's native engine: use upstream's image"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
