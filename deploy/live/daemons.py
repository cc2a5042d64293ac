"""Daemons of launchd on a Mac, read past pyinfra: what launchctl, ps and their files say."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from deploy.errors import ConnectionFailedError, Problem
from deploy.live.connection import Connection
from deploy.live.inspect import live_service, values_by_name
from deploy.live.services import FoundService, ask_health
from deploy.services.host_service import SERVICES
from deploy.services.launchd import DAEMONS, LOGS

MARKS = "@marks"
RUNNING = "running"
UNITS_SECONDS = (1, 60, 3600, 86400)


def read_daemon(connection: Connection, name: str) -> FoundService | None:
    """A daemon as it runs; ``None`` if there is none.

    Raises:
        ConnectionFailedError: if the host does not answer.
    """
    status, output = connection.run(_command(name))
    if status:
        raise ConnectionFailedError(Problem(name, f"the Mac does not answer: {output.strip()}"))
    facts, _, marks = output.partition(f"{MARKS}\n")
    said = values_by_name(facts.splitlines())
    if not said.get("unit_sha256"):
        return None
    if said.get("elapsed"):
        said["started"] = str(int(said["now"]) - elapsed_seconds(said["elapsed"]))
    live = live_service(name, said | values_by_name(marks.splitlines()))
    limit = int((live.spec or {}).get("memory_bytes", 0))
    return FoundService(live, int(said.get("rss_kib") or 0) * 1024, limit)


def is_loaded(connection: Connection, name: str) -> bool:
    """Whether launchd has the daemon.

    Raises:
        ConnectionFailedError: if the host does not answer.
    """
    status, _ = connection.run(f"launchctl print {shlex.quote(f'system/{name}')}")
    return status == 0


def read_log(connection: Connection, name: str, tail: int, *, follow: bool) -> Iterator[bytes]:
    """Lines of its log; those that go on after the log is emptied, too.

    Raises:
        ConnectionFailedError: if the host does not answer.
    """
    path = shlex.quote(str(LOGS / f"{name}.log"))
    return connection.stream(f"tail -n {tail} {'-F ' if follow else ''}{path}")


def whole_log(connection: Connection, name: str) -> Iterator[bytes]:
    """All that is in its log.

    Raises:
        ConnectionFailedError: if the host does not answer.
    """
    return connection.stream(f"cat {shlex.quote(str(LOGS / f'{name}.log'))}")


def elapsed_seconds(text: str) -> int:
    """Seconds of what ps calls the elapsed time, ``[[days-]hours:]minutes:seconds``."""
    parts = text.replace("-", ":").split(":")
    pairs = zip(reversed(parts), UNITS_SECONDS, strict=False)
    return sum(int(part) * unit for part, unit in pairs)


def _command(name: str) -> str:
    """Its state, age and memory, digests of its files, its health; then what is written of it."""
    label, plist = shlex.quote(name), shlex.quote(str(DAEMONS / f"{name}.plist"))
    marks = shlex.quote(str(SERVICES / name / "marks"))
    script = "\n".join(
        [
            "LC_ALL=C; export LC_ALL",
            f"said=$(launchctl print system/{label} 2>/dev/null)",
            'field() { echo "$said" | awk -v f="$1" \'$1 == f && $2 == "=" { print $3; exit }\'; }',
            f'state=$(field state); [ "$state" != {RUNNING} ] || echo ActiveState=active',
            "launchctl print-disabled system 2>/dev/null |"
            f" grep -qE '\"{name}\" => (disabled|true)' || echo UnitFileState=enabled",
            "echo now=$(date +%s)",
            "pid=$(field pid)",
            'if [ -n "$pid" ]; then echo elapsed=$(ps -o etime= -p "$pid")',
            "echo rss_kib=$(ps -A -o pgid= -o rss= |"
            " awk -v p=\"$pid\" '$1 == p { n += $2 } END { print n + 0 }'); fi",
            f"[ ! -f {plist} ] || echo unit_sha256=$(shasum -a 256 <{plist} | cut -d ' ' -f 1)",
            f"[ ! -f {marks} ] || echo marks_sha256=$(shasum -a 256 <{marks} | cut -d ' ' -f 1)",
            ask_health(marks),
            f"echo {MARKS}; cat {marks} 2>/dev/null; true",
        ]
    )
    return shlex.join(["sh", "-c", script])
