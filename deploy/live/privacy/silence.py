"""Ask through every door, then look everywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from deploy.artefacts import Artefacts
from deploy.errors import AtelierError, Problem, ServiceError
from deploy.live.connection import Connection, connect
from deploy.live.privacy.browsers import KEPT, TEMPORARY, KeptChat, ask_as_browsers
from deploy.live.privacy.databases import Server
from deploy.live.privacy.doors import Asked, ask_all
from deploy.live.privacy.files import search_container, search_host
from deploy.live.privacy.logs import search_log
from deploy.live.privacy.look import Look, begin, now
from deploy.live.privacy.places import Place
from deploy.live.privacy.stores import search_sqlite, search_valkey
from deploy.live.privacy.ways import find_doors
from deploy.services import Unit, open_webui, postgres, valkey
from deploy.services.host_service import data_directory
from deploy.spec.router import RouterKind

ROWS_SECONDS = 75
"""How long routers may take to write the rows of requests: they collect them for some seconds."""
LOOK_SECONDS = 2
ROWS: dict[RouterKind, str] = {
    "aristote": "public.metrics",
    "litellm": 'public."LiteLLM_SpendLogs"',
}
"""Where each router writes who asked what when."""
WITHOUT_A_ROW = ("cut off", f"{TEMPORARY} with", "embedding of", "rerank of")
"""Requests that need not have one, of all routers."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Silence:
    """What was asked, and what is left of it."""

    asked: tuple[Asked, ...]
    places: tuple[Place, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is left that must not be."""
        return all(place.ok for place in self.places)


def look_for_leaks(artefacts: Artefacts, say: Say) -> Silence:
    """Send marked requests through every door, and look for them everywhere.

    Args:
        artefacts: the deployment.
        say: is told what happens.

    Raises:
        ConnectionFailedError: if a host does not answer.
        SecretError: if the deployment's secrets are not known here.
        ServiceError: if no door answers.
    """
    artefacts.secrets.require_kept()
    with ExitStack() as stack:
        hosts = {
            host.name: stack.enter_context(
                connect(host, needs_docker=artefacts.stack.needs_docker(host.name))
            )
            for host in artefacts.spec.hosts
        }
        look = begin(artefacts, hosts)
        closed = list(_ask(look, say))
        if not any(each.ended == "200" for each in look.asked):
            found = "no request was answered: there is nothing to look for"
            raise ServiceError(Problem("verify", found, fix="see what `atelier status` says"))
        say("waiting until routers have written the rows of requests")
        late = list(_wait_for_rows(look))
        with KeptChat(look):
            say("looking through logs, databases, stores and files")
            places = [search() for search in _searches(look)]
        return Silence(tuple(look.asked), (*closed, *late, *places))


def _ask(look: Look, say: Say) -> Iterator[Place]:
    """Ask through every door; gives those where no one answers."""
    for door in find_doors(look):
        say(f"asking: {door.name}")
        mark = look.needles.mark
        asked = [*ask_all(door, mark), *([] if door.is_router else ask_as_browsers(door, mark))]
        look.asked += asked
        if not any(each.ended.isdigit() for each in asked):
            problem = "it answers nothing, so that nothing was asked there"
            yield Place("door", door.name, "", "", "", problem=problem)


def _wait_for_rows(look: Look) -> Iterator[Place]:
    """Routers write a row for each request that was answered, some seconds later."""
    plan = look.artefacts.plan
    if look.server is None or plan.postgres is None or "router" not in plan.postgres.own:
        return
    kinds = [router.spec.kind for router in plan.routers]
    database = " and ".join(postgres.DATABASES[kind].name for kind in kinds)
    wanted = sum(
        each.ended == "200" and not any(kind in each.request for kind in WITHOUT_A_ROW)
        for each in look.asked
    )
    deadline = time.monotonic() + ROWS_SECONDS
    while (found := _new_rows(look.server, kinds)) < wanted:
        if time.monotonic() > deadline:
            problem = f"{found} rows of {wanted} requests were there after {ROWS_SECONDS} s"
            yield Place(
                "database", f"{database}, rows", plan.router.host, database, "", problem=problem
            )
            return
        time.sleep(LOOK_SECONDS)


def _new_rows(server: Server, kinds: list[RouterKind]) -> int:
    return sum(server.new_rows(postgres.DATABASES[kind].name, ROWS[kind]) for kind in kinds)


Searching = Callable[[], Place]


def _searches(look: Look) -> Iterator[Searching]:
    needles = look.needles
    for unit in look.units():
        connection = look.host_of(unit)
        yield partial(search_log, connection, unit, look.since[unit.host], needles)
    yield from _database_searches(look)
    for unit in look.units():
        if unit.image_name == valkey.IMAGE:
            yield partial(search_valkey, look.host_of(unit), unit, needles)
    for unit in look.units():
        if unit.image_name:
            yield partial(_search_files, look, unit)
    for host, connection in look.hosts.items():
        yield partial(_search_host, look, host, connection)


def _database_searches(look: Look) -> Iterator[Searching]:
    plan, needles = look.artefacts.plan, look.needles
    own = plan.postgres.own if plan.postgres else ()
    context = look.artefacts.context
    for owner in postgres.owners(context, own) if look.server else ():
        by_design = open_webui.CHATS if owner == "web_ui" else ()
        name = postgres.DATABASES[owner].name
        yield partial(_of_database, look, name, by_design)
    for owner in postgres.owners(context, plan.postgres.declared if plan.postgres else ()):
        note = "not searched: it is on a server of yours"
        name = postgres.DATABASES[owner].name
        yield partial(Place, "database", name, "", name, note)
    if plan.valkey and plan.valkey.host is None:
        note = "not searched: it is on a server of yours"
        yield partial(Place, "store", "valkey", "", "valkey", note)
    if plan.web_ui and "web_ui" not in (*own, *(plan.postgres.declared if plan.postgres else ())):
        [unit] = [unit for unit in look.units() if unit.image_name == open_webui.IMAGE]
        path = open_webui.DATA / open_webui.SQLITE
        search = partial(search_sqlite, look.host_of(unit), unit, path, needles, open_webui.CHATS)
        yield lambda: _not_blind(search())


def _of_database(look: Look, name: str, by_design: tuple[str, ...]) -> Place:
    assert look.server is not None  # noqa: S101 - asked for only where there is one
    place = look.server.search(name, look.needles, by_design)
    return _not_blind(place) if by_design else place


def _not_blind(place: Place) -> Place:
    """The chat that the web UI keeps must be seen."""
    if place.problem or any(hit.request == KEPT for hit in place.kept_by_design):
        return place
    problem = "the chat that was kept there was not found: the search does not work"
    return Place(**(vars(place) | {"problem": problem}))


def _minutes(look: Look, host: str, connection: Connection) -> int:
    """Since it began, as find counts them, and a minute more: it takes some time to begin."""
    return (now(connection) - look.since[host]) // 60 + 2


def _search_files(look: Look, unit: Unit) -> Place:
    connection = look.host_of(unit)
    minutes = _minutes(look, unit.host, connection)
    left_out: dict[str, tuple[PurePosixPath, ...]] = {
        # what PostgreSQL and Valkey keep is asked of them
        postgres.IMAGE: (postgres.DATA / "base", postgres.DATA / "pg_wal"),
        valkey.IMAGE: (valkey.DATA / "dump.rdb",),
        open_webui.IMAGE: (open_webui.DATA / open_webui.SQLITE,),
    }
    paths = left_out.get(unit.image_name or "", ())
    return search_container(connection, unit, minutes, look.needles, paths)


def _search_host(look: Look, host: str, connection: Connection) -> Place:
    artefacts, minutes = look.artefacts, _minutes(look, host, connection)
    directory, data = artefacts.context.directory(host), data_directory(artefacts.plan.name)
    services = [unit.name for unit in artefacts.stack.on(host) if unit.image_name is None]
    try:
        return search_host(connection, host, directory, data, services, minutes, look.needles)
    except AtelierError as error:
        return Place("files", host, host, "host", "", problem=str(error))
