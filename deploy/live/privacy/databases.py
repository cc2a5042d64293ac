"""PostgreSQL: every column of every row that was written since the requests began.

Rows say which transaction wrote them (``xmin``): what was there before is not read again.
https://www.postgresql.org/docs/17/ddl-system-columns.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from docker.errors import DockerException

from deploy.errors import Problem, ServiceError
from deploy.live.connection import Connection
from deploy.live.privacy import execs
from deploy.live.privacy.needles import Hit, Needles, Search
from deploy.live.privacy.places import MOST_BYTES, Place, size

STATEMENT_SECONDS = 60
TABLE = "atelier-table "
TABLES = (
    "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
    " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
)
NEXT_TRANSACTION = "SELECT mod(pg_current_xact_id()::text::numeric, 4294967296)"
FAILED = (b"ERROR:", b"psql: error", b"FATAL:")


@dataclass(frozen=True)
class Server:
    """A server of the deployment's, and a moment in its life."""

    connection: Connection = field(repr=False)
    container: str
    host: str
    transaction: str
    """The first one that is looked at."""

    def new_rows(self, database: str, table: str) -> int:
        """How many rows of a table were written since then."""
        statement = f"SELECT count(*) FROM {table} WHERE {_is_new(self)}"  # noqa: S608 - ours
        answer = _psql(self.connection, self.container, database, [statement])
        return int(answer) if answer.isdigit() else 0

    def search(self, database: str, needles: Needles, by_design: tuple[str, ...]) -> Place:
        """Search a database.

        Args:
            database: its name.
            needles: what is looked for.
            by_design: how tables begin that keep prompts by design.
        """
        try:
            names = _psql(self.connection, self.container, database, [TABLES]).splitlines()
            command = _dump(self, database, names)
            chunks = execs.stream_apart(self.connection.client, self.container, command)
            found = _read(chunks, needles)
        except DockerException as error:
            return self._place(database, problem=f"it cannot be asked: {type(error).__name__}")
        return self._of(database, found, by_design)

    def _of(self, database: str, found: _Found, by_design: tuple[str, ...]) -> Place:
        wrong: set[Hit] = set()
        declared: set[Hit] = set()
        where = []
        for table, search in found.tables.items():
            plain = table.rpartition(".")[2].strip('"')
            kept = (
                {
                    hit
                    for hit in search.found
                    if hit.what == "prompt" and plain.startswith(by_design)
                }
                if by_design
                else set()
            )
            declared |= kept
            wrong |= search.found - kept
            if search.found - kept:
                where.append(table)
        read = sum(search.bytes_read for search in found.tables.values())
        amount = f"{found.rows} new rows of {len(found.tables)} tables, {size(read)}"
        return self._place(
            database, amount, frozenset(wrong), frozenset(declared), found.problem, tuple(where)
        )

    def _place(  # noqa: PLR0913, PLR0917
        self,
        database: str,
        amount: str = "",
        found: frozenset[Hit] = frozenset(),
        declared: frozenset[Hit] = frozenset(),
        problem: str = "",
        where: tuple[str, ...] = (),
    ) -> Place:
        name = f"{self.container}, {database}"
        return Place("database", name, self.host, database, amount, found, declared, problem, where)


def open_server(connection: Connection, container: str, host: str) -> Server:
    """The server in a container, from now on.

    Raises:
        ServiceError: if it does not answer.
    """
    try:
        transaction = _psql(connection, container, "postgres", [NEXT_TRANSACTION])
    except DockerException as error:
        transaction = type(error).__name__
    if not transaction.isdigit():
        found = "PostgreSQL does not answer in its container"
        fix = "see what `atelier status` says of it"
        raise ServiceError(Problem(container, found, fix=fix))
    return Server(connection, container, host, transaction)


@dataclass
class _Found:
    tables: dict[str, Search] = field(default_factory=dict)
    rows: int = 0
    problem: str = ""


def _is_new(server: Server) -> str:
    return f"age(xmin) <= age('{server.transaction}'::xid)"


def _dump(server: Server, database: str, tables: Iterable[str]) -> list[str]:
    command = [*_start(database), "-c", f"SET statement_timeout = '{STATEMENT_SECONDS}s'"]
    for table in tables:
        rows = f"SELECT * FROM {table} WHERE {_is_new(server)}"  # noqa: S608 - names from itself
        command += ["-c", f"\\echo {TABLE}{_quoted(table)}", "-c", f"COPY ({rows}) TO STDOUT"]
    return command


def _quoted(text: str) -> str:
    """As a word of psql's own commands."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _read(chunks: Iterator[tuple[bytes, bytes]], needles: Needles) -> _Found:
    found, search, read = _Found(), needles.search(), 0
    errors: list[bytes] = []
    for line in _lines(chunks, errors):
        read += len(line)
        if line.startswith(TABLE.encode()):
            search = needles.search()
            found.tables[line.decode("utf-8", "replace").removeprefix(TABLE).strip()] = search
        else:
            found.rows += 1
            search.feed(line)
        if read > MOST_BYTES:
            found.problem = f"only the first {size(MOST_BYTES)} were searched"
            break
    if any(line.startswith(FAILED) for line in b"".join(errors).splitlines()):
        found.problem = "one of its tables did not answer in time, or not at all"
    return found


def _lines(chunks: Iterator[tuple[bytes, bytes]], errors: list[bytes]) -> Iterator[bytes]:
    """Whole lines; errors come in the middle of them, for psql does not keep those back."""
    pending = b""
    for printed, said in chunks:
        errors.append(said)
        *whole, pending = (pending + printed).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if pending:
        yield pending


def _start(database: str) -> list[str]:
    # over its socket, as the superuser that only root in the container can be
    return ["psql", "-X", "-q", "-A", "-t", "-U", "postgres", "-d", database]


def _psql(connection: Connection, container: str, database: str, statements: list[str]) -> str:
    command = [*_start(database), *(part for each in statements for part in ("-c", each))]
    # warnings, e.g. of a newer image's collations, are no part of an answer
    chunks = execs.stream_apart(connection.client, container, command)
    return b"".join(printed for printed, _ in chunks).decode("utf-8", "replace").strip()
