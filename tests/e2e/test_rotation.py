"""Another engine key under a steady load: no client that asks once notices, whatever happens."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest
import yaml
from docker.models.containers import Container

from tests.e2e.load import Load, steady_load
from tests.e2e.names import CHECKOUT
from tests.e2e.site import MASTER_KEY, Site, run_converged_site, settings_here

NAME = f"e2e-rotation-{CHECKOUT}"
MODEL = "tiny-coder"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = settings_here(NAME, tmp_path_factory.mktemp("host"))
    settings["models"] = [{"name": MODEL, "replicas": 2}]
    with run_converged_site(NAME, tmp_path_factory.mktemp("site"), settings) as site:
        yield site


def engine(site: Site, index: int) -> Container:
    return site.client.containers.get(f"{NAME}-llama-cpp-{MODEL}-{index}")


def kept_key(site: Site) -> str:
    return str(
        yaml.safe_load((site.directory / f".secrets/{NAME}.yaml").read_text())["engine_api_key"]
    )


def taken_by(site: Site, index: int, key: str) -> int:
    """Status of an engine's answer to a request with a key, past the router."""
    address = engine(site, index).attrs["NetworkSettings"]["Networks"][NAME]["IPAddress"]
    headers = {"Authorization": f"Bearer {key}"}
    url = f"http://{address}:8080/v1/models"
    return httpx.get(url, headers=headers, timeout=30, trust_env=False).status_code


def secrets(site: Site, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return site.atelier(f"secrets {verb}", *arguments)


def rotate(site: Site) -> tuple[str, str]:
    """The key before, and the one that the next deployment brings."""
    old = kept_key(site)
    said = secrets(site, "rotate", "engine_api_key")
    assert said.returncode == 0, said.stderr
    new = kept_key(site)
    assert new != old
    assert new not in said.stdout
    return old, new


def load_on(site: Site) -> Load:
    return Load(site.router_url, MASTER_KEY, MODEL)


def assert_only(site: Site, new: str, old: str, replicas: int) -> None:
    """Engines take the new key alone, and the router knows no other one."""
    for index in range(replicas):
        assert (taken_by(site, index, new), taken_by(site, index, old)) == (200, 401)
    assert site.read("litellm", "/etc/atelier/engine_keys") == f"{new}\n".encode()


def test_no_request_fails(site: Site) -> None:
    old, new = rotate(site)
    router = site.container("litellm").attrs["State"]["StartedAt"]
    load = load_on(site)
    with steady_load(load) as wait_for:
        wait_for(20)
        planned = site.dry_run()
        assert planned.status == 0, planned.output
        done, again = site.deploy(), site.deploy()
        wait_for(20)
    assert [done.status, again.status] == [0, 0], done.output + again.output
    assert done.announcements == planned.announcements
    assert again.changes == []
    keys = (
        f"file {site.settings['hosts'][0]['directory']}/deployments/{NAME}/live/litellm/engine_keys"
    )
    assert planned.steps == [
        ("update", keys),
        ("recreate", f"container {NAME}-llama-cpp-{MODEL}-0"),
        ("recreate", f"container {NAME}-llama-cpp-{MODEL}-1"),
        ("update", keys),
    ]
    assert load.failures == []
    assert load.answered > 100
    assert_only(site, new, old, replicas=2)
    # its container need not change
    assert site.container("litellm").attrs["State"]["StartedAt"] == router
    for secret in (old, new):
        assert secret not in planned.output + done.output


@pytest.mark.parametrize("seconds", [1.0, 4.0])
def test_a_run_that_is_killed_is_mended_by_the_next(site: Site, seconds: float) -> None:
    """Killed while an engine is being replaced; requests go on until the next run, and then."""
    old, new = rotate(site)
    load = load_on(site)
    with steady_load(load) as wait_for:
        with site.start() as process:
            assert process.stderr is not None
            for line in process.stderr:
                if "--> Starting operation: Run the engines" in line:
                    break
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert process.returncode == -signal.SIGKILL
        wait_for(40)
        done, again = site.deploy(), site.deploy()
        wait_for(20)
    assert [done.status, again.status] == [0, 0], done.output + again.output
    assert again.changes == []
    assert load.failures == []
    assert_only(site, new, old, replicas=2)


def test_requests_wait_where_there_is_one_replica(site: Site) -> None:
    site.write(site.settings | {"models": [{"name": MODEL}]})
    site.converge(site.settings)
    old, new = rotate(site)
    load = load_on(site)
    with steady_load(load) as wait_for:
        wait_for(10)
        done = site.deploy()
        wait_for(10)
    assert done.status == 0, done.output
    assert load.failures == []
    assert_only(site, new, old, replicas=1)


def test_what_never_rotates_is_refused(site: Site) -> None:
    for name, why in {
        "digest_key": "every container would be replaced",
        "router_master_key": "declared in the inventory",
        "web_ui_admin_password": "this deployment has no web UI",
        "router_salt_key": "is lost with another",
        "valkey_password": "this deployment has none",
    }.items():
        said = secrets(site, "rotate", name)
        assert said.returncode == 1
        assert why in said.stderr, said.stderr
