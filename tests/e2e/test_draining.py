"""Two routers behind the entry, two engines, and clients that never ask twice.

Routers are replaced, and nobody notices. A router dies, an engine dies: what it was answering ends
with an error, and nothing else does.
"""

from __future__ import annotations

import json
import re
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from docker.models.containers import Container

from tests.e2e.load import (
    ASK_ENTRY,
    Load,
    open_streams,
    router_figures,
    router_states,
    steady_load,
)
from tests.e2e.names import CHECKOUT
from tests.e2e.site import (
    MASTER_KEY,
    START_TIMEOUT_SECONDS,
    Site,
    entry_here,
    kill,
    run_converged_site,
    settings_here,
)

NAME = f"e2e-draining-{CHECKOUT}"
MODEL = "tiny-coder"
ROUTERS = [f"{NAME}-litellm-{index}" for index in range(2)]
ENGINES = [f"{NAME}-llama-cpp-{MODEL}-{index}" for index in range(2)]
PEOPLE = 20
AT_ONCE = 16
"""Requests that an engine answers at the same time; no router asks more of it than half of them."""
ELSEWHERE_SECONDS = 5
PERIOD = 100_000
SLOW, HARDLY = PERIOD // 40, PERIOD // 100
"""Of a CPU in a period: an engine's streams last, and one that starts again is away for long."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = settings_here(NAME, tmp_path_factory.mktemp("host"))
    settings["models"] = [{"name": MODEL, "replicas": 2, "max_num_seqs": AT_ONCE}]
    settings["router"]["replicas"] = 2
    settings["entry"] = entry_here(requests_per_minute=60_000)
    with run_converged_site(NAME, tmp_path_factory.mktemp("site"), settings) as site:
        yield site


def load_on(site: Site) -> Load:
    """Clients that come in through the entry."""
    trusted = ssl.create_default_context(cadata=site.atelier("ca").stdout)
    url = f"https://127.0.0.1:{site.settings['entry']['https_port']}"
    return Load(url, MASTER_KEY, MODEL, verify=trusted)


def states(site: Site) -> dict[str, str]:
    """What the entry itself says of each router."""
    return router_states(entry_says(site))


def entry_says(site: Site) -> str:
    _, output = site.container("haproxy").exec_run(["bash", "-c", ASK_ENTRY])
    assert isinstance(output, bytes)
    return output.decode()


def change(site: Site, num_retries: int) -> None:
    """A setting for which both routers are replaced."""
    router = site.settings["router"] | {"num_retries": num_retries}
    site.write(site.settings | {"router": router})


def ids(site: Site) -> list[str]:
    return [str(site.client.containers.get(name).id) for name in ROUTERS]


def away(site: Site) -> list[str]:
    """Whom an unfinished change keeps requests away from."""
    directory = Path(site.settings["hosts"][0]["directory"])
    return [path.name for path in directory.glob(f"deployments/{NAME}/live/haproxy/draining/*")]


def test_no_request_fails(site: Site) -> None:
    before = ids(site)
    change(site, 3)
    load = load_on(site)
    with steady_load(load, clients=8) as wait_for:
        wait_for(40)
        planned = site.dry_run()
        done, again = site.deploy(), site.deploy()
        wait_for(max(40, 520 - load.answered))
    assert [done.status, again.status] == [0, 0], done.output + again.output
    assert done.announcements == planned.announcements
    assert again.changes == []
    assert not set(before) & set(ids(site))
    assert load.failures == []
    assert load.answered >= 500
    assert states(site) == dict.fromkeys(ROUTERS, "UP")
    assert away(site) == []


@pytest.mark.long
def test_a_run_that_is_killed_is_mended_by_the_next(site: Site) -> None:
    """Killed while the entry sends nothing to a router: the next run sees to it that it does."""
    change(site, 4)
    load = load_on(site)
    with steady_load(load) as wait_for:
        with site.start() as process:
            deadline = time.monotonic() + 300
            while not away(site) and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert away(site) == ROUTERS[:1]
        # what was begun goes on without the run
        while states(site)[ROUTERS[0]] == "UP" and time.monotonic() < deadline:
            time.sleep(0.2)
        assert states(site)[ROUTERS[0]] in {"DRAIN", "DOWN"}
        wait_for(20)
        planned = site.dry_run()
        assert ("no longer keep away", f"requests to {ROUTERS[0]}") in planned.announced
        done, again = site.deploy(), site.deploy()
        wait_for(20)
    assert [done.status, again.status] == [0, 0], done.output + again.output
    assert again.changes == []
    assert load.failures == []
    assert states(site) == dict.fromkeys(ROUTERS, "UP")
    assert away(site) == []


# what dies


def container(site: Site, name: str) -> Container:
    return site.client.containers.get(name)


def give(engine: Container, cpu: int) -> None:
    """So much of a CPU in a period; -1 for all that there is."""
    engine.update(cpu_period=PERIOD, cpu_quota=cpu)


@contextmanager
def slow_engines(site: Site) -> Iterator[list[Container]]:
    """Engines whose streams last, until they are given more."""
    engines = [container(site, name) for name in ENGINES]
    try:
        for engine in engines:
            give(engine, SLOW)
        yield engines
    finally:
        for engine in engines:
            give(engine, -1)


def answering(engine: Container) -> int:
    """How many requests an engine says that it answers, asked past the routers."""
    variables = [line for line in engine.attrs["Config"]["Env"] if "=" in line]
    key = dict(line.split("=", 1) for line in variables)["LLAMA_API_KEY"]
    address = engine.attrs["NetworkSettings"]["Networks"][NAME]["IPAddress"]
    headers = {"Authorization": f"Bearer {key}"}
    text = httpx.get(f"http://{address}:8080/metrics", headers=headers, timeout=60).text
    [found] = re.findall(r"^llamacpp:requests_processing (\d+)$", text, re.MULTILINE)
    return int(found)


def left_out(site: Site, replica: str) -> list[float]:
    """When routers have left out a replica; each line of their logs has Docker's time."""
    logs = [container(site, name).logs(timestamps=True).decode() for name in ROUTERS]
    lines = [line for log in logs for line in log.splitlines() if f"{replica} left out" in line]
    return [datetime.fromisoformat(line.split()[0]).timestamp() for line in lines]


def eventually(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def restarts(of: Container) -> int:
    of.reload()
    return int(of.attrs["RestartCount"])


@pytest.mark.faults
def test_what_a_dying_engine_answers_ends_and_nothing_else(site: Site) -> None:
    load = load_on(site)
    with slow_engines(site) as (other, dying), open_streams(load, PEOPLE) as streams:
        before, begun = restarts(dying), answering(dying)
        assert begun + answering(other) == PEOPLE
        give(dying, HARDLY)
        died = time.time()
        kill(dying)
        give(other, PERIOD // 4)
        cut = [stream for stream in streams if stream.served_by == dying.name]
        assert all(stream.ended.wait(START_TIMEOUT_SECONDS) for stream in cut)
        # those who were cut have asked something else by now
        asked_on = dict(load.served_by)
        give(other, -1)
    assert 0 < len(cut) == begun < PEOPLE
    assert [stream for stream in streams if stream.failure] == cut
    assert all("ended while it answered" in stream.failure for stream in cut)
    assert load.failures == []
    assert asked_on == {other.name: begun}
    noticed = left_out(site, ENGINES[1])
    assert noticed
    assert max(noticed) - died < ELSEWHERE_SECONDS
    # it has started again by itself, with all of its CPUs, and the routers find it
    with steady_load(load):
        assert eventually(lambda: load.served_by[ENGINES[1]] > 0)
    assert load.failures == []
    assert restarts(dying) == before + 1


def ended_by_router(site: Site, name: str, since: float) -> list[dict[str, Any]]:
    """Requests of which the entry says that this router ended them in the middle of the answer."""
    log = site.container("haproxy").logs(since=since).decode()
    rows = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [row for row in rows if row["server"] == name and row["end"].startswith("SD")]


def figure(site: Site, name: str, router: str) -> int:
    """One of the entry's figures of a router."""
    return int(router_figures(entry_says(site), name)[router])


@pytest.mark.faults
def test_what_a_dying_router_answers_ends_and_nothing_else(site: Site) -> None:
    dying, since = container(site, ROUTERS[1]), time.time()
    before, load, other_load = restarts(dying), load_on(site), load_on(site)
    with slow_engines(site) as engines, open_streams(load, PEOPLE) as streams:
        answering_streams = figure(site, "scur", ROUTERS[1])
        with steady_load(other_load) as wait_for:
            wait_for(1)
            kill(dying)
            for engine in engines:
                give(engine, -1)
            assert all(stream.ended.wait(START_TIMEOUT_SECONDS) for stream in streams)
            wait_for(40)
            assert eventually(lambda: states(site) == dict.fromkeys(ROUTERS, "UP"))
            served = figure(site, "stot", ROUTERS[1])
            assert eventually(lambda: figure(site, "stot", ROUTERS[1]) > served + 10)
    cut = [stream.failure for stream in streams if stream.failure]
    assert 0 < len(cut) == answering_streams < PEOPLE
    # answers of the steady load that had begun there, at most one of each client
    failures = cut + other_load.failures
    assert len(failures) == len(ended_by_router(site, ROUTERS[1], since))
    assert all("RemoteProtocolError" in failure for failure in failures)
    # who was cut asks on, and is answered
    assert (load.failures, load.answered) == ([], len(cut))
    assert len(other_load.failures) <= 4
    assert other_load.answered > 40
    assert restarts(dying) == before + 1
