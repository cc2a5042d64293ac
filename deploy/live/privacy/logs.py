"""Logs: what containers, services and daemons have printed since the requests began."""

from __future__ import annotations

from collections.abc import Iterator

from docker.errors import DockerException, NotFound

from deploy.live.connection import Connection
from deploy.live.daemons import whole_log
from deploy.live.privacy.needles import Needles
from deploy.live.privacy.places import MOST_BYTES, Place, of_search
from deploy.live.services import journal_since
from deploy.services import Unit


def search_log(connection: Connection, unit: Unit, since: int, needles: Needles) -> Place:
    """Search the log of a unit.

    Args:
        connection: to its host.
        unit: what runs there.
        since: seconds since the epoch, by the host's clock.
        needles: what is looked for.
    """
    search, service = needles.search(), unit.runs.service
    try:
        whole = search.feed_all(_lines(connection, unit, since), MOST_BYTES)
    except NotFound:
        return Place("log", unit.name, unit.host, service, "", problem="there is no such container")
    except DockerException as error:
        problem = f"Docker does not give it: {type(error).__name__}"
        return Place("log", unit.name, unit.host, service, "", problem=problem)
    return of_search("log", unit.name, unit.host, service, search, whole=whole)


def _lines(connection: Connection, unit: Unit, since: int) -> Iterator[bytes]:
    if unit.runs.kind == "launchd":
        # its lines say not when, in one way; what is looked for was not asked before
        return whole_log(connection, unit.name)
    if unit.image_name is None:
        return journal_since(connection, unit.name, since)
    container = connection.client.containers.get(unit.name)
    chunks: Iterator[bytes] = container.logs(stream=True, follow=False, since=since)
    return chunks
