"""Runs vLLM, and ends it when it hangs: Docker starts its container again.

    python3 hang_watch.py SETTINGS COMMAND...

vLLM's ``/health`` says 200 as long as its engine core is alive, also where that waits for ever for
a GPU, for another process or for a lock (https://github.com/vllm-project/vllm/pull/36451). What
tells a hang from work is in progress.py.

Why here: Docker starts nothing again that is unhealthy, and a health check cannot end the first
process of its container, to which the kernel sends no SIGKILL from within. The first process can,
needs no rights outside, runs in upstream's images as they are, and remembers from look to look. A
router would have to reach into the hosts of its engines.

What is left of the hang: in the log of the container what every thread of Python was doing (SIGABRT
makes faulthandler write it, which needs neither the thread nor its lock), which processes ran, and
the last figures; and a file that lasts as long as the container, which ``atelier status`` shows.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from last_state import end, processes, report, without_core_dumps
from progress import Look, Progress, Verdict

EXIT_STATUS = 75
"""Of a container whose engine hung: EX_TEMPFAIL of sysexits.h."""
ANSWER_SECONDS = 10
ESTABLISHED = "01"
LOOPBACK = ("0100007F", "00000000000000000000000001000000")
COMPILERS = (
    *("nvcc", "cicc", "cudafe++", "ptxas", "fatbinary", "ninja", "cc1"),
    *("hipcc", "clang", "amdclang", "lld", "ld.lld"),
)
"""How names of compilers begin. Triton has one of its own for Blackwell, ``ptxas-blackwell``, and
ROCm's are ``clang++``, ``clang-20`` and ``amdclang++``."""
OWN = ("vllm:admission_rejections", "vllm:engine_sleep_state", "vllm:websocket_connection")
"""Figures that the HTTP server moves by itself."""
SHOWN = (
    "num_requests_running",
    "num_requests_waiting",
    "kv_cache_usage_perc",
    "prompt_tokens_total",
    "generation_tokens_total",
)


@dataclass(frozen=True)
class Settings:
    """What is watched."""

    seconds: float
    address: str
    port: int
    path: str
    """Where one token is asked for."""
    body: dict[str, Any]
    report: str
    """File that says why the engine was ended; ``atelier status`` reads it."""

    @property
    def interval(self) -> float:
        """From one look to the next."""
        return min(5.0, self.seconds / 6)


class Engine:
    """The HTTP server of the engine."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def request(
        self, method: str, path: str, body: Any = None, timeout: float = ANSWER_SECONDS
    ) -> tuple[int, str]:
        """Status and text of an answer.

        Raises:
            OSError, http.client.HTTPException: if there is none.
        """
        place = self.settings.address, self.settings.port
        connection = http.client.HTTPConnection(*place, timeout=timeout)
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("VLLM_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        try:
            connection.request(method, path, body and json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()


class Probe:
    """The request of one token, sent in a thread of its own."""

    def __init__(self, engine: Engine, timeout: float) -> None:
        self.sent = time.monotonic()
        self.took: float | None = None
        self.thread = threading.Thread(target=self._ask, args=(engine, timeout), daemon=True)
        self.thread.start()

    def _ask(self, engine: Engine, timeout: float) -> None:
        settings = engine.settings
        # a refusal is an answer, too: what cannot be asked proves nothing
        with suppress(OSError, http.client.HTTPException):
            engine.request("POST", settings.path, settings.body, timeout)
            self.took = time.monotonic() - self.sent


def figures(metrics: str) -> tuple[str, ...]:
    """The lines of vLLM's metrics that its engine core moves."""
    lines = (line for line in metrics.splitlines() if line.startswith("vllm:"))
    return tuple(line for line in lines if not line.startswith(OWN))


def figure(lines: tuple[str, ...], name: str) -> float:
    """A figure, added up over all labels."""
    found = (line.rpartition(" ")[2] for line in lines if line.startswith(f"vllm:{name}{{"))
    return sum(map(float, found))


def clients(tables: list[str], port: int) -> frozenset[str]:
    """Connections to a port that are not this machine's own, by what /proc/net/tcp says."""
    rows = (line.split()[1:4] for table in tables for line in table.splitlines()[1:])
    return frozenset(
        f"{local} {remote}"
        for local, remote, state in rows
        if state == ESTABLISHED
        and int(local.rpartition(":")[2], 16) == port
        and not remote.rpartition(":")[0].endswith(LOOPBACK)
    )


class Watch:
    """Looks at the engine from time to time, once it has started."""

    def __init__(self, settings: Settings, root: int, proc: Path = Path("/proc")) -> None:
        self.settings, self.root, self.proc = settings, root, proc
        self.engine = Engine(settings)
        self.progress = Progress(settings.seconds, settings.interval)
        self.has_started = False
        self.probe: Probe | None = None
        self.waiting: frozenset[str] = frozenset()
        """Clients that have been connected for two looks."""
        self.last: tuple[str, ...] = ()
        self._connected: frozenset[str] = frozenset()

    def look(self) -> Verdict:
        """One look."""
        if not self.has_started:
            self.has_started = self._metrics()[0] is not None
            return Verdict.WORKS
        connected = clients(self._tables(), self.settings.port)
        self.waiting, self._connected = connected & self._connected, connected
        # every question is a line in its log: one that nobody asks is not asked
        has_to_say = connected or self.probe
        found, is_silent = self._metrics() if has_to_say else (self.last or None, False)
        self.last = found or self.last
        took = self.probe.took if self.probe else None
        verdict = self.progress.see(
            Look(
                at=time.monotonic(),
                figures=found,
                is_asked=bool(self.waiting or self.probe),
                answered_after=took,
                compiles=self._compiles(),
                is_silent=is_silent,
            )
        )
        if verdict == Verdict.WORKS or took is not None:
            self.probe = None
        elif verdict == Verdict.STILL and self.probe is None:
            self.probe = Probe(self.engine, 2 * self.progress.allowed_seconds)
        return verdict

    def _metrics(self) -> tuple[tuple[str, ...] | None, bool]:
        """What the engine says of itself, and whether it does not answer at all."""
        try:
            status, text = self.engine.request("GET", "/metrics")
        except (OSError, http.client.HTTPException):
            return None, True
        found = figures(text)
        return (found if status == http.client.OK and found else None), False

    def _tables(self) -> list[str]:
        paths = (self.proc / "net" / name for name in ("tcp", "tcp6"))
        return [path.read_text() for path in paths if path.exists()]

    def _compiles(self) -> bool:
        return any(each.name.startswith(COMPILERS) for each in processes(self.proc, self.root))

    def shown(self) -> dict[str, float]:
        """The figures that say most."""
        return {name: figure(self.last, name) for name in SHOWN}

    def why(self, verdict: Verdict) -> str:
        """What was seen, in a sentence."""
        if verdict == Verdict.SILENT:
            return f"its server has answered nothing for {self.progress.silent_seconds:.0f} s"
        still, allowed = self.progress.still_seconds, self.progress.allowed_seconds
        return (
            f"nothing has moved for {still:.0f} s ({allowed:.0f} s are allowed) while"
            f" {len(self.waiting)} clients wait, and one token that was asked for has not come"
        )


def main(arguments: list[str]) -> int:
    """Run the command until it ends, or hangs."""
    settings = Settings(**json.loads(arguments[0]))
    without_core_dumps()
    environment = os.environ | {"PYTHONFAULTHANDLER": "1"}
    running = subprocess.Popen(arguments[1:], env=environment)
    stopping = threading.Event()

    def forward(sent: int, _: Any) -> None:
        stopping.set()
        running.send_signal(sent)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    watch = Watch(settings, running.pid)
    while True:
        with suppress(subprocess.TimeoutExpired):
            status = running.wait(settings.interval)
            return 128 - status if status < 0 else status
        verdict = Verdict.WORKS if stopping.is_set() else watch.look()
        if verdict in {Verdict.HANGS, Verdict.SILENT} and not stopping.is_set():
            family = processes(watch.proc, watch.root)
            report(watch.why(verdict), watch.shown(), family, Path(settings.report))
            end(running, family)
            return EXIT_STATUS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
