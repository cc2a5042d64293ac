"""A hundred streams of a mock engine: what router and entry cost, next to asking it directly.

A deployment is made as always. Then its engine's container is stopped, and the mock takes its
place, under its name on the deployment's network; for the entry alone it takes the router's, too.
Each token says when it left, so that one process on this machine knows how long it was under way.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import docker
from docker.models.containers import Container

from bench.machine import load as load_average
from tests.e2e.site import MASTER_KEY, Site, entry_here, run_converged_site, settings_here

NAME, MODEL = "bench-streams", "tiny-coder"
STREAMS, FEW, TOKENS_PER_SECOND = 100, 10, 50
SECONDS = 12
"""Of each stream, at full speed."""
MOST_SECONDS = 40
"""When streams that are late are cut."""
ENGINE, ROUTER, ENTRY = (
    f"{NAME}-{each}-0" for each in ("llama-cpp-tiny-coder", "litellm", "haproxy")
)
ENGINE_PORT, ROUTER_PORT, TLS_PORT = 8080, 4000, 8443
MOCK = Path(__file__).with_name("mock_engine.py")


@dataclass
class Way:
    """How long tokens were under way, and what that took."""

    name: str
    streams: int
    delays: list[float] = field(default_factory=list)
    """Seconds of each token."""
    first: list[float] = field(default_factory=list)
    """Seconds until the first token of each stream."""
    seconds: float = 0.0
    processor_seconds: dict[str, float] = field(default_factory=dict)
    """Of each container that the way leads through."""
    load: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Of all streams together."""
        return len(self.delays) / max(self.seconds, 1e-9)

    def delay(self, percent: int) -> float:
        """So many percent of the tokens were no longer under way, in milliseconds."""
        ordered = sorted(self.delays)
        return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] * 1000


@dataclass(frozen=True)
class Door:
    """Where the streams are asked for."""

    host: str
    port: int
    tls: bool = False


async def _stream(door: Door, way: Way, seconds: float) -> None:
    context = ssl.create_default_context() if door.tls else None
    if context:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(door.host, door.port, ssl=context)
    body = json.dumps(
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": "ping"}],
            "max_tokens": int(seconds * TOKENS_PER_SECOND),
            "stream": True,
        }
    ).encode()
    begun = time.monotonic()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {door.host}\r\nConnection: close\r\n"
        f"Authorization: Bearer {MASTER_KEY}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        await _read(reader, way, begun)
    writer.close()


async def _read(reader: asyncio.StreamReader, way: Way, begun: float) -> None:
    is_first = True
    while line := await reader.readline():
        now = time.monotonic()
        if line.startswith(b"data: {") and (sent := _sent(line)):
            way.delays.append(now - sent)
            if is_first:
                way.first.append(now - begun)
            is_first = False
        if line.startswith(b"data: [DONE]"):
            return


def _sent(line: bytes) -> float | None:
    """When a token left the mock; parsing the JSON would take longer than all else here."""
    _, found, rest = line.partition(b'"content":')
    digits = rest.lstrip(b' "').split(b" ", 1)[0].rstrip(b'",} ')
    return int(digits) / 1e6 if found and digits.isdigit() else None


async def _streams(door: Door, way: Way) -> None:
    begun = time.monotonic()
    tasks = [asyncio.create_task(_stream(door, way, SECONDS)) for _ in range(way.streams)]
    _, late = await asyncio.wait(tasks, timeout=MOST_SECONDS)
    way.seconds = time.monotonic() - begun
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _measure(name: str, streams: int, door: Door, through: list[Container]) -> Way:
    # what is made with the first requests is not measured
    _wait_until_served(door)
    way = Way(name, streams, load=load_average())
    before = {str(each.name): _processor_seconds(each) for each in through}
    asyncio.run(_streams(door, way))
    way.processor_seconds = {
        str(each.name): _processor_seconds(each) - before[str(each.name)] for each in through
    }
    if not way.delays:
        raise RuntimeError(f"{name}: no token came")
    return way


def _processor_seconds(container: Container) -> float:
    """Of its processes, as user and in the kernel."""
    listed: Any = container.top()
    column = listed["Titles"].index("PID")
    return sum(_of_process(row[column]) for row in listed["Processes"])


def _of_process(pid: str) -> float:
    # proc(5): the name, in brackets, may hold spaces
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(directory: Path) -> Iterator[Way]:
    """Deploy, measure each way, remove."""
    settings = settings_here(NAME, directory / "host") | {"entry": entry_here(connections=1000)}
    settings["router"]["memory_limit"] = "4GiB"
    with run_converged_site(NAME, directory, settings) as site, _mock(site) as mock:
        router, entry = (site.client.containers.get(name) for name in (ROUTER, ENTRY))
        address = "127.0.0.1"
        tls = Door(address, int(settings["entry"]["https_port"]), tls=True)
        plain = Door(_address(router), ROUTER_PORT)
        yield _measure("the engine itself", STREAMS, Door(_address(mock), ENGINE_PORT), [])
        yield _measure("the engine itself", FEW, Door(_address(mock), ENGINE_PORT), [])
        yield _measure("the router", FEW, plain, [router])
        yield _measure("the entry and the router", FEW, tls, [entry, router])
        # the last one: it works on for a while at what it is late with
        yield _measure("the router", STREAMS, plain, [router])
        router.kill()
        _name(site, mock, ENGINE, ROUTER)
        yield _measure("the entry", STREAMS, tls, [entry])


@contextmanager
def _mock(site: Site) -> Iterator[Container]:
    """The mock in the engine's place."""
    image = site.client.containers.get(ROUTER).attrs["Config"]["Image"]
    site.client.containers.get(ENGINE).stop()
    ports = [str(ENGINE_PORT), str(ROUTER_PORT)]
    speed = ["--tokens-per-second", str(TOKENS_PER_SECOND)]
    mock = site.client.containers.create(
        image,
        entrypoint=["python3", "-u", "-c", MOCK.read_text(), *ports, *speed],
        name=f"{NAME}-mock",
        labels={"io.atelier.deployment": NAME},
    )
    try:
        _name(site, mock, ENGINE)
        mock.start()
        yield mock
    finally:
        mock.remove(force=True)


def _name(site: Site, mock: Container, *names: str) -> None:
    network = site.client.networks.get(NAME)
    with suppress(docker.errors.APIError):
        network.disconnect(mock)
    network.connect(mock, aliases=list(names))


def _address(container: Container) -> str:
    container.reload()
    return str(container.attrs["NetworkSettings"]["Networks"][NAME]["IPAddress"])


def _wait_until_served(door: Door) -> None:
    """The mock starts, and HAProxy looks for servers every few seconds."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        way = Way("", 1)
        with suppress(OSError):
            asyncio.run(asyncio.wait_for(_stream(door, way, 0.2), 30))
        if way.delays:
            return
        time.sleep(1)
    raise RuntimeError(f"no one streams at port {door.port}")


COLUMNS = (
    *(
        "through",
        "streams",
        "tokens/s",
        "first token, ms",
        "a token under way, ms: half, 95 %, 99 %",
    ),
    *("added to half, ms", "processor of 2, %", "load before"),
)
HEADING = "## What the entry and the router cost"
TEXT = """\
Streams of an engine that computes nothing and sends 50 tokens a second in each, on the machine
below: client, engine, router and entry share its two processors. Each token says when it left, and
the client how long it was under way. "added" is against the engine itself, with as many streams.

The entry is HAProxy, which passes bytes on. The router is LiteLLM, one process of Python that takes
each token apart and puts it together again: it has one processor's time for all streams, and
where they need more, tokens wait. How many it passes on is in the column "tokens/s": a router for
each processor (`Router(replicas=..)`) passes on as many times as much.
"""


def rows(ways: list[Way]) -> Iterator[tuple[str, ...]]:
    """The cells of the table."""
    direct = {way.streams: way.delay(50) for way in ways if way.name == "the engine itself"}
    for way in ways:
        delays = ", ".join(f"{way.delay(percent):.1f}" for percent in (50, 95, 99))
        first = f"{median(way.first) * 1000:.0f}"
        added = (
            "" if way.name == "the engine itself" else f"{way.delay(50) - direct[way.streams]:.1f}"
        )
        used = ", ".join(
            f"{name.removeprefix(NAME + '-').removesuffix('-0')} {100 * seconds / way.seconds:.0f}"
            for name, seconds in way.processor_seconds.items()
        )
        speed = f"{way.tokens_per_second:.0f} of {way.streams * TOKENS_PER_SECOND}"
        yield way.name, str(way.streams), speed, first, delays, added, used, f"{way.load:.1f}"
