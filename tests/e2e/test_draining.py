"""Two routers behind the entry are replaced under a load: no client that asks once notices."""

from __future__ import annotations

import signal
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.load import ASK_ENTRY, Load, router_states, steady_load
from tests.e2e.names import CHECKOUT
from tests.e2e.site import MASTER_KEY, Site, entry_here, run_converged_site, settings_here

NAME = f"e2e-draining-{CHECKOUT}"
MODEL = "tiny-coder"
ROUTERS = [f"{NAME}-litellm-{index}" for index in range(2)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = settings_here(NAME, tmp_path_factory.mktemp("host"))
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
    _, output = site.container("haproxy").exec_run(["bash", "-c", ASK_ENTRY])
    assert isinstance(output, bytes)
    return router_states(output.decode())


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
    assert done.content == planned.content
    assert again.changes == []
    assert not set(before) & set(ids(site))
    assert load.failures == []
    assert load.answered >= 500
    assert states(site) == dict.fromkeys(ROUTERS, "UP")
    assert away(site) == []


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
