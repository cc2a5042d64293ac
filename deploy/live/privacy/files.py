"""Files that were written since the requests began: in containers, and in a host's directories."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from docker.errors import DockerException, NotFound
from docker.models.containers import Container

from deploy.live.connection import Connection
from deploy.live.privacy import execs
from deploy.live.privacy.needles import Hit, Needles
from deploy.live.privacy.places import MOST_FILE_BYTES, Place, size
from deploy.scripts import read_script
from deploy.services import Unit

SCRIPT = "search_files.sh"


def search_container(
    connection: Connection,
    unit: Unit,
    minutes: int,
    needles: Needles,
    left_out: Iterable[PurePosixPath] = (),
) -> Place:
    """Search what a container may write to: volumes, directories, and its own file system.

    Args:
        connection: to its host.
        unit: what runs in it.
        minutes: how long ago files were changed at most.
        needles: what is looked for.
        left_out: what is asked in another way.
    """
    place = ("files", unit.name, unit.host, unit.runs.service)
    try:
        container = connection.client.containers.get(unit.name)
        tops = [*_writable(container), *(f"!{path}" for path in left_out)]
        command = _command(needles, minutes, tops)
        said = "".join(f"{form}\n" for form, _ in needles.forms) + ".\n"
        chunks = execs.stream(connection.client, unit.name, command, said)
        output = b"".join(chunks).decode("utf-8", "replace")
        return _place(place, output, needles, [hit for _, hit in needles.forms])
    except NotFound:
        return Place(*place, "", problem="there is no such container")
    except DockerException as error:
        return Place(*place, "", problem=f"it has no shell to search with: {type(error).__name__}")


def search_host(  # noqa: PLR0913, PLR0917
    connection: Connection,
    host: str,
    directory: PurePosixPath,
    data: PurePosixPath,
    services: Iterable[str],
    minutes: int,
    needles: Needles,
) -> Place:
    """Search directories of a host for marks alone: secrets are there by design.

    Args:
        connection: to the host.
        host: its name.
        directory: the deployment's.
        data: where its services without a container keep their data.
        services: names of those.
        minutes: how long ago files were changed at most.
        needles: what is looked for.
    """
    forms = [form for form, _ in needles.mark_forms]
    said = shlex.join(["printf", r"%s\n", *forms, "."])
    search = shlex.join(_command(needles, minutes, [str(directory)]))
    words = [search, *(word for name in services for word in _own_places(data, shlex.quote(name)))]
    _, output = connection.run(shlex.join(["sh", "-c", f"{said} | {' '.join(words)}"]))
    shown = [directory, data] if len(words) > 1 else [directory]
    place = ("files", ", ".join(map(str, shown)), host, "host")
    return _place(place, output, needles, [hit for _, hit in needles.mark_forms])


def _own_places(data: PurePosixPath, service: str) -> Iterator[str]:
    """What a service can write to, as words for ``sh``.

    systemd makes a link of its data, and gives it temporary directories of its own.
    """
    yield f"{data}/{service}/."
    yield f"/tmp/systemd-private-*-{service}.service-*"  # noqa: S108 - systemd's
    yield f"/var/tmp/systemd-private-*-{service}.service-*"  # noqa: S108


def _count(files: str) -> str:
    return "1 new file" if files == "1" else f"{files or 0} new files"


def _command(needles: Needles, minutes: int, tops: Iterable[str]) -> list[str]:
    script = read_script(SCRIPT)
    kib = str(MOST_FILE_BYTES // 1024)
    return ["sh", "-c", script, "atelier", needles.mark.word, str(minutes), kib, *tops]


def _writable(container: Container) -> Iterator[str]:
    """Directories that something in it can write to."""
    attributes = container.attrs
    yield from (mount["Destination"] for mount in attributes["Mounts"] if mount["RW"])
    yield from (attributes["HostConfig"].get("Tmpfs") or {})
    if not attributes["HostConfig"]["ReadonlyRootfs"]:
        changed = container.diff() or []
        yield from sorted({"/" + str(row["Path"]).split("/")[1] for row in changed})


def _place(
    place: tuple[str, str, str, str], output: str, needles: Needles, hits: Sequence[Hit]
) -> Place:
    found: set[Hit] = set()
    where: list[str] = []
    files, unread = "", []
    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        first, _, path = rest.partition(" ")
        if word == "mark":
            found.add(needles.prompt(first[:3]))
            where.append(path)
        elif word == "form":
            found.add(hits[int(first)])
            where.append(path)
        elif word in {"large", "unreadable"}:
            unread.append(rest)
        elif word == "files":
            files = first
    problem = "" if files else "it cannot be searched"
    if unread:
        problem = f"not read, as over {size(MOST_FILE_BYTES)} or another's: {', '.join(unread[:3])}"
    seen = tuple(dict.fromkeys(each.replace(needles.mark.word, "...") for each in where))
    return Place(*place, _count(files), frozenset(found), problem=problem, where=seen)
