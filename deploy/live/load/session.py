"""A load from its beginning to its end, or until somebody stops it."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from deploy.live.load import sample as outcomes
from deploy.live.load.client import Client, open_client
from deploy.live.load.queue import Queue
from deploy.live.load.sample import Sample
from deploy.live.load.target import Target
from deploy.live.load.workload import Person

LOOK_SECONDS = 1.0
TICK_SECONDS = 0.1
AFTER_ERROR_SECONDS = 2.0
"""Before somebody tries again."""
FILES, FILES_OF_ONE = 128, 4
"""That are open at most: all others, and those of somebody's connection through SSH."""
WELL = {outcomes.ANSWERED, outcomes.EMPTY, outcomes.CANCELLED}
LookAtQueue = Callable[[float], Queue | None]
Report = Callable[[float, Sequence[Sample]], None]


@dataclass
class Measured:
    """Everything that was measured."""

    samples: list[Sample] = field(default_factory=list)
    queue: list[Queue] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    """By how many seconds this machine itself was late, again and again."""
    seconds: float = 0.0
    stopped: bool = False
    """Whether somebody stopped it before its time."""


def run(
    people: Sequence[Person],
    target: Target,
    seconds: float,
    look: LookAtQueue,
    report: Report,
) -> Measured:
    """Let people ask; Ctrl-C ends it, and what was measured until then is returned.

    Args:
        people: who asks.
        target: whom.
        seconds: for how long.
        look: says how many wait in the engines.
        report: is told how it goes, every second.
    """
    _allow_files(FILES + FILES_OF_ONE * len(people))
    return asyncio.run(_run(people, target, seconds, look, report))


def _allow_files(count: int) -> None:
    """Connections are files, of which macOS lets a program open 256, and Linux 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        # the system may have yet another limit
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


async def _run(
    people: Sequence[Person], target: Target, seconds: float, look: LookAtQueue, report: Report
) -> Measured:
    measured, stop = Measured(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with open_client(target, len(people)) as client:
        tasks = [asyncio.create_task(_use(each, client, measured.samples)) for each in people]
        tasks.append(asyncio.create_task(_watch(client, measured, look, report)))
        tasks.append(asyncio.create_task(_watch_itself(client, measured)))
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
            measured.stopped = True
        except TimeoutError:
            pass
        measured.seconds = client.now()
        for task in tasks:
            task.cancel()
        _raise_first(await asyncio.gather(*tasks, return_exceptions=True))
    return measured


def _raise_first(ends: list[BaseException | None]) -> None:
    """A mistake of ours must not look like a load that no one answers."""
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def _use(person: Person, client: Client, samples: list[Sample]) -> None:
    answer = ""
    while True:
        step = person.next(answer)
        await asyncio.sleep(step.pause_seconds)
        sample = await client.ask(person.use, step, samples)
        # the conversation goes on with it; nothing else keeps it
        answer, sample.text = sample.text, ""
        if sample.outcome not in WELL:
            answer = ""
            await asyncio.sleep(AFTER_ERROR_SECONDS)


async def _watch(client: Client, measured: Measured, look: LookAtQueue, report: Report) -> None:
    while True:
        with suppress(OSError):
            found = await asyncio.to_thread(look, client.now())
            if found:
                measured.queue.append(found)
        report(client.now(), measured.samples)
        await asyncio.sleep(LOOK_SECONDS)


async def _watch_itself(client: Client, measured: Measured) -> None:
    """Whoever plays too many people looks at the clock too late, and measures that of answers."""
    while True:
        wanted = client.now() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        measured.late.append(client.now() - wanted)
