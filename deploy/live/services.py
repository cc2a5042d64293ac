"""Services of systemd on a host, read past pyinfra: what systemctl and the journal say."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.changes.live import LiveService
from deploy.errors import ConnectionFailedError, Problem
from deploy.live.connection import Connection
from deploy.live.inspect import live_service, values_by_name
from deploy.services.host_service import SERVICES

PROPERTIES = (
    "LoadState,ActiveState,SubState,UnitFileState,ActiveEnterTimestampMonotonic,MemoryCurrent"
)
MARK = "[X-Atelier]"
UNKNOWN = {"", "[not set]", "infinity"}


@dataclass(frozen=True)
class FoundService:
    """A service and what it uses."""

    live: LiveService
    memory_bytes: int
    memory_limit_bytes: int


def read_service(connection: Connection, name: str) -> FoundService | None:
    """A service as it runs; ``None`` if there is none.

    Raises:
        ConnectionFailedError: if the host does not answer.
    """
    status, output = connection.run(_command(name))
    if status:
        raise ConnectionFailedError(Problem(name, f"systemd does not answer: {output.strip()}"))
    facts, _, marks = output.partition(MARK)
    said = values_by_name(facts.splitlines()) | values_by_name(marks.splitlines())
    if said.get("LoadState") != "loaded":
        return None
    live = live_service(name, said | _times(said))
    if not said.get("environment_sha256"):
        # only root can read it: what is in it is not known, so it is not said to differ
        del live.files["environment file"]
    limit = (live.spec or {}).get("memory_bytes", 0)
    return FoundService(live, _bytes(said.get("MemoryCurrent", "")), int(limit))


def is_there(connection: Connection, name: str) -> bool:
    """Whether systemd knows the service.

    Raises:
        ConnectionFailedError: if the host does not answer.
    """
    status, _ = connection.run(f"systemctl cat {shlex.quote(name)}.service")
    return status == 0


def read_journal(connection: Connection, name: str, tail: int, *, follow: bool) -> Iterator[bytes]:
    """Lines of its log.

    Raises:
        ConnectionFailedError: if the host does not answer.
    """
    unit = shlex.quote(f"{name}.service")
    more = " --follow" if follow else ""
    return connection.stream(
        f"journalctl --unit {unit} --lines {tail} --output cat --no-pager{more}"
    )


def journal_since(connection: Connection, name: str, since: int) -> Iterator[bytes]:
    """Its log from a moment on, in seconds since the epoch by the host's clock.

    Raises:
        ConnectionFailedError: if the host does not answer.
    """
    unit = shlex.quote(f"{name}.service")
    return connection.stream(
        f"journalctl --unit {unit} --since @{since} --output cat --no-pager --quiet"
    )


def ask_health(marks: str) -> str:
    """Shell command that prints whether a service answers its own health check.

    Args:
        marks: the file in which the check stands, as a shell word.
    """
    return "\n".join(
        [
            f"check=$(sed -n 's/^Health=//p' {marks} 2>/dev/null)",
            'if [ -n "$check" ] && sh -c "$check" >/dev/null 2>&1',
            "then echo health=yes; else echo health=no; fi",
        ]
    )


def _command(name: str) -> str:
    """Properties of systemd, digests of files, its health; then its unit file."""
    unit = shlex.quote(f"{name}.service")
    file = f"/etc/systemd/system/{unit}"
    environment = SERVICES / name / "environment"
    script = "\n".join(
        [
            "LC_ALL=C; export LC_ALL",
            f"systemctl show {unit} --property {PROPERTIES} || exit 1",
            "echo now=$(date +%s); echo up=$(cut -d. -f1 /proc/uptime)",
            f"echo unit_sha256=$(sha256sum <{file} 2>/dev/null | cut -d' ' -f1)",
            f"echo environment_sha256=$(sha256sum 2>/dev/null <{environment} | cut -d' ' -f1)",
            ask_health(file),
            f"cat {file} 2>/dev/null; true",
        ]
    )
    return shlex.join(["sh", "-c", script])


def _times(said: dict[str, str]) -> dict[str, str]:
    """When it started, in seconds since the epoch, from seconds since the host booted."""
    monotonic = said.get("ActiveEnterTimestampMonotonic", "0")
    if not monotonic.isdigit() or monotonic == "0":
        return {}
    booted = float(said["now"]) - float(said["up"])
    return {"started": str(booted + int(monotonic) / 1e6)}


def _bytes(text: str) -> int:
    return 0 if text in UNKNOWN else int(text)
