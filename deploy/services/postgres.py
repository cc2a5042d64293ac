"""PostgreSQL: one server, with a database and a role for each service that keeps something there.

Settings: https://www.postgresql.org/docs/17/runtime-config.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from deploy.plan.service_plans import DatabaseUser, PostgresPlan
from deploy.render import TEMPLATES
from deploy.services.container_parts import HealthCheck, Mount
from deploy.services.context import TMP, ServiceContext
from deploy.services.host_files import ConfigFile, DataFile
from deploy.services.unit import Tier, Unit
from deploy.spec import SecretName, SecretText
from deploy.spec.router import RouterKind
from deploy.units import MIB

IMAGE = "postgres"
PORT = 5432
HOME = PurePosixPath("/var/lib/postgresql/data")
"""Where the volume is, in the official image and in ours."""
DATA = HOME / "pgdata"
SOCKETS = PurePosixPath("/var/run/postgresql")
CONFIG = PurePosixPath("/etc/atelier")
FILES = ("start.sh", "database.sql", "pg_hba.conf")
SHARED_MEMORY_BYTES = 256 * MIB
"""Docker's own 64 MiB are too little for a query in several processes."""
STOP_SECONDS = 60
"""Time to write down what is in memory."""
MAJOR = re.compile(r":(\d+)(?![\d:/])")
UPGRADE = (
    "keep the major version of the data: images={'postgres': Image(reference=...)}. To go on to"
    " another: stop router and web UI, docker exec NAME pg_dumpall -U postgres >all.sql, remove the"
    " container and the volume, deploy, stop router and web UI again, drop their empty databases,"
    " and docker exec -i NAME psql -U postgres <all.sql"
)


SILENT = {"log_min_error_statement": "panic", "log_error_verbosity": "terse"}
"""Aristote's statements have tokens in them: one that fails is not logged, and no details of why.

https://www.postgresql.org/docs/current/runtime-config-logging.html
"""


@dataclass(frozen=True)
class Database:
    """A database, and the role of the same name that owns it."""

    name: str
    password: SecretName


Owner = RouterKind | Literal["web_ui"]
"""Whose a database is. Each router has its own: one that is gone on to makes tables of its own."""
DATABASES: dict[Owner, Database] = {
    "aristote": Database("aristote", SecretName.ROUTER_DATABASE_PASSWORD),
    "litellm": Database("litellm", SecretName.ROUTER_DATABASE_PASSWORD),
    "web_ui": Database("open_webui", SecretName.WEB_UI_DATABASE_PASSWORD),
}


def owners(context: ServiceContext, users: Collection[DatabaseUser]) -> Iterator[Owner]:
    """The services behind the settings of databases: of two routers both, whichever is first."""
    wanted: set[Owner] = {"web_ui"} if "web_ui" in users else set()
    if "router" in users:
        wanted |= {router.spec.kind for router in context.plan.routers}
    return (owner for owner in DATABASES if owner in wanted)


def database_url(
    context: ServiceContext, owner: Owner, scheme: str = "postgresql"
) -> SecretText | None:
    """Where a service finds its database; ``None`` if it has none.

    Args:
        context: the deployment.
        owner: which service.
        scheme: what the address starts with; a declared one has it already.
    """
    plan, database = context.plan.postgres, DATABASES[owner]
    user: DatabaseUser = "web_ui" if owner == "web_ui" else "router"
    if plan and user in plan.declared:
        return SecretText.of(f"postgres.{user}_database_url")
    if plan and user in plan.own:
        host = context.container_name(IMAGE)
        return SecretText(
            template=f"{scheme}://{database.name}:{{password}}@{host}:{PORT}/{database.name}",
            secrets={"password": database.password},
        )
    return None


def units(context: ServiceContext) -> Iterator[Unit]:
    """The server, where there is one."""
    plan = context.plan.postgres
    if plan is None or plan.host is None:
        return
    config = context.config_tree(plan.host, IMAGE, _files())
    volume, version = f"{context.plan.name}-{IMAGE}", major_version(context.images[IMAGE].reference)
    yield Unit(
        host=plan.host,
        tier=Tier.STORE,
        serves="database",
        image_name=IMAGE,
        is_stateful=True,
        start_timeout_seconds=plan.spec.start_timeout_seconds,
        config=config,
        data_file=DataFile(
            path=DATA / "PG_VERSION",
            volume=volume,
            volume_path=PurePosixPath("pgdata/PG_VERSION"),
            wanted=version,
            refusal=f"PostgreSQL {{found}} wrote it, and {version} does not read that",
            allowed=f"data of PostgreSQL {version}",
            fix=UPGRADE.replace("NAME", context.container_name(IMAGE)),
        ),
        runs=context.container(
            context.container_name(IMAGE),
            IMAGE,
            IMAGE,
            command=("sh", str(CONFIG / "start.sh"), *_settings(context, plan)),
            env=_environment(context, plan),
            mounts={
                HOME: Mount(kind="volume", source=volume),
                CONFIG: Mount(kind="bind", source=str(config.directory), read_only=True),
            },
            tmpfs=(TMP, SOCKETS),
            memory_bytes=plan.spec.memory_limit,
            shm_size_bytes=SHARED_MEMORY_BYTES,
            stop_timeout_seconds=STOP_SECONDS,
            healthcheck=HealthCheck(
                # it listens only when roles and databases are there
                command=f"pg_isready --quiet --host=127.0.0.1 --port={PORT}",
                start_period_seconds=plan.spec.start_timeout_seconds,
            ),
        ),
    )


def _files() -> dict[str, ConfigFile]:
    folder = TEMPLATES / IMAGE
    return {name: ConfigFile(content=(folder / name).read_text("utf-8")) for name in FILES}


def _environment(context: ServiceContext, plan: PostgresPlan) -> dict[str, str | SecretText]:
    databases = [DATABASES[owner] for owner in owners(context, plan.own)]
    passwords = {
        f"ATELIER_PASSWORD_{database.name}": SecretText.of(database.password)
        for database in databases
    }
    names = " ".join(database.name for database in databases)
    return {"PGDATA": str(DATA), "ATELIER_DATABASES": names, **passwords}


def _settings(context: ServiceContext, plan: PostgresPlan) -> tuple[str, ...]:
    """A quarter of the memory for shared buffers, as the manual says; times in UTC."""
    memory = plan.spec.memory_limit // MIB
    settings = {
        "listen_addresses": "*",
        "unix_socket_directories": str(SOCKETS),
        "max_connections": str(plan.spec.max_connections),
        "shared_buffers": f"{memory // 4}MB",
        "effective_cache_size": f"{memory // 2}MB",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    if context.plan.router_of("aristote"):
        settings |= SILENT
    return tuple(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))


def major_version(reference: str) -> str:
    """The major version that a reference names; empty if it names none."""
    found = MAJOR.search(reference.partition("@")[0].rpartition("/")[2])
    return found[1] if found else ""
