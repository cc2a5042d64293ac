"""Every kind of change: announced by the dry run, made by the run, and then nothing is left."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.names import NAME, PROJECT
from tests.e2e.registry import Registry
from tests.e2e.site import START_TIMEOUT_SECONDS, Settings, Site, free_port

ENGINE, ROUTER = "llama-cpp-tiny-coder", "litellm"
Change = Callable[..., Settings]


def docker(*arguments: str) -> str:
    finished = subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True)
    return finished.stdout.strip()


@dataclass(frozen=True)
class Case:
    """One change and what it must lead to."""

    announced: set[tuple[str, str]]
    """Actions and resources."""
    fields: set[str]
    """Fields named by the dry run."""
    replaced: set[str]
    """Services that have a new container afterwards."""
    started: set[str] = field(default_factory=set)
    """Services that have the same container, started anew."""


def check(site: Site, case: Case) -> None:
    """Dry run, run, run again; what happened is read from the container engine."""
    before = site.snapshot()
    dry = site.dry_run()
    assert dry.status == 0, dry.output
    assert dry.announced == case.announced, dry.output
    assert dry.fields >= case.fields, dry.fields
    assert site.snapshot() == before, "the dry run changed something"

    made = site.deploy()
    assert made.status == 0, made.output
    assert [strip(change) for change in made.changes] == [strip(change) for change in dry.changes]
    after = site.snapshot()
    for name, (container_id, status, started_at) in after.items():
        service = name.removeprefix(f"{site.name}-").removesuffix("-0")
        same = name in before and before[name][0] == container_id
        assert same != (service in case.replaced), name
        assert status == "running"
        if same:
            assert (started_at != before[name][2]) == (service in case.started), name

    again = site.deploy()
    assert (again.status, again.succeeded, again.changes) == (0, 0, []), again.output
    assert site.snapshot() == after


def strip(change: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in change.items() if key != "stage"}


def recreate(*services: str) -> set[tuple[str, str]]:
    return {("recreate", f"container {NAME}-{service}-0") for service in services}


def new_config(site: Site) -> set[tuple[str, str]]:
    """A new release of the router's configuration, and the removal of the one in use."""
    root = Path(site.settings["hosts"][0]["directory"]) / f"deployments/{NAME}/config/litellm"
    (release,) = root.iterdir()
    return {("remove", f"configuration {release}")}


def without_new_release(announced: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Announcements without the new release's file, whose path has a digest in it."""
    return {item for item in announced if "/config/litellm/" not in item[1] or item[0] == "remove"}


def test_image_version(site: Site, changed: Change, registry: Registry) -> None:
    local = str(site.container(ENGINE).attrs["Config"]["Image"])
    images = [
        registry.build(f"FROM {local}\nLABEL release={tag}\n", f"llama-cpp:{tag}")
        for tag in ("v1", "v2")
    ]
    site.converge(changed(images={"llama-cpp": {"reference": images[0]}}))
    site.write(changed(images={"llama-cpp": {"reference": images[1]}}))
    check(
        site,
        Case(
            recreate(ENGINE) | {("pull", f"image {images[1]}")},
            {"image"},
            {ENGINE},
        ),
    )
    image = site.container(ENGINE).image
    assert image is not None
    assert image.labels["release"] == "v2"


def test_environment(site: Site, changed: Change) -> None:
    site.write(changed(router__env={"LITELLM_LOG": "ERROR"}))
    check(site, Case(recreate(ROUTER), {"env.LITELLM_LOG"}, {ROUTER}))
    assert "LITELLM_LOG=ERROR" in site.container(ROUTER).attrs["Config"]["Env"]


@pytest.mark.long
def test_mounted_file(site: Site, changed: Change) -> None:
    stale = new_config(site)
    site.write(changed(router__num_retries=5))
    dry = site.dry_run()
    assert without_new_release(dry.announced) == recreate(ROUTER) | stale
    assert "num_retries: 2" in dry.output
    assert "num_retries: 5" in dry.output
    check(site, Case(dry.announced, {"mounts./etc/litellm.source"}, {ROUTER}))
    _, output = site.container(ROUTER).exec_run(["cat", "/etc/litellm/config.yaml"])
    assert b"num_retries: 5" in output


def test_secret(site: Site, changed: Change) -> None:
    site.environment = {"E2E_MASTER_KEY": "sk-another-key-9876543210"}
    dry = site.dry_run()
    assert "another-key" not in dry.output
    check(site, Case(recreate(ROUTER), {"secret_env.LITELLM_MASTER_KEY"}, {ROUTER}))
    assert "a, b = b, a + b" in site.complete(key="sk-another-key-9876543210")


def test_port(site: Site, changed: Change, free_router_port: int) -> None:
    site.write(changed(router__port=free_router_port))
    check(site, Case(recreate(ROUTER), {"ports[0].host_port"}, {ROUTER}))
    assert "a, b = b, a + b" in site.complete()


@pytest.fixture
def free_router_port() -> int:
    return free_port()


def test_memory_limit(site: Site, changed: Change) -> None:
    site.write(changed(engine__memory_limit="1GiB"))
    changes = {"memory_bytes", "env.LLAMA_ARG_CACHE_RAM"}
    check(site, Case(recreate(ENGINE), changes, {ENGINE}))
    attributes = site.container(ENGINE).attrs
    assert attributes["HostConfig"]["Memory"] == 1024**3
    assert "LLAMA_ARG_CACHE_RAM=128" in attributes["Config"]["Env"]


def test_engine_argument(site: Site, changed: Change) -> None:
    site.write(changed(engine__threads=1))
    check(site, Case(recreate(ENGINE), {"command"}, {ENGINE}))
    assert "--threads" in site.container(ENGINE).attrs["Config"]["Cmd"]


def test_model_added_then_an_orphan(
    site: Site, changed: Change, tmp_path: Path, base_settings: Settings
) -> None:
    weights = tmp_path / "mine.gguf"
    shutil.copy(PROJECT / "deploy/catalog/models/tiny-coder-q8_0.gguf", weights)
    stale = new_config(site)
    own = {"name": "mine", "path": str(weights), "max_model_len": 1024}
    site.write(changed(models=[{"name": "tiny-coder"}, own]))
    dry = site.dry_run()
    copy = {item for item in dry.announced if item[0] == "copy"}
    assert len(copy) == 1
    create = {("create", f"container {NAME}-llama-cpp-mine-0")}
    assert without_new_release(dry.announced) == create | copy | recreate(ROUTER) | stale
    check(site, Case(dry.announced, {"image"}, {"llama-cpp-mine", ROUTER}))
    assert "a, b = b, a + b" in site.complete(model="mine")

    stale = new_config(site)
    site.write(base_settings)
    dry = site.dry_run()
    orphan = {("remove", f"container {NAME}-llama-cpp-mine-0")}
    assert without_new_release(dry.announced) == orphan | recreate(ROUTER) | stale
    check(site, Case(dry.announced, set(), {ROUTER}))
    assert set(site.snapshot()) == {f"{NAME}-{ENGINE}-0", f"{NAME}-{ROUTER}-0"}


@pytest.mark.long
def test_other_model(site: Site, changed: Change) -> None:
    stale = new_config(site)
    site.write(changed(models=[{"name": "tiny-coder", "served_model_name": "coder"}]))
    dry = site.dry_run()
    assert without_new_release(dry.announced) == recreate(ENGINE, ROUTER) | stale
    check(site, Case(dry.announced, {"command"}, {ENGINE, ROUTER}))
    assert "a, b = b, a + b" in site.complete(model="coder")


@pytest.mark.long
def test_a_draft(site: Site, changed: Change, tmp_path: Path) -> None:
    small = tmp_path / "small.gguf"
    shutil.copy(PROJECT / "deploy/catalog/models/tiny-coder-q8_0.gguf", small)
    drafts = {"method": "draft_model", "num_speculative_tokens": 4, "draft": "tiny-coder"}
    model = {"name": "tiny-coder", "speculative": {**drafts, "path": str(small)}}
    site.write(changed(models=[model]))
    dry = site.dry_run()
    copy = {item for item in dry.announced if item[0] == "copy"}
    assert len(copy) == 1
    assert dry.announced == recreate(ENGINE) | copy
    check(site, Case(dry.announced, {"command"}, {ENGINE}))
    assert "a, b = b, a + b" in site.complete()
    assert b"draft acceptance" in site.container(ENGINE).logs()


def test_stopped_by_hand(site: Site) -> None:
    docker("stop", f"{NAME}-{ENGINE}-0")
    started = {("start", f"container {NAME}-{ENGINE}-0")}
    check(site, Case(started, {"state"}, set(), {ENGINE}))


def test_paused_by_hand(site: Site) -> None:
    docker("pause", f"{NAME}-{ENGINE}-0")
    dry = site.dry_run()
    assert dry.announced == {("start", f"container {NAME}-{ENGINE}-0")}
    assert site.deploy().status == 0
    assert site.container(ENGINE).status == "running"
    assert site.deploy().succeeded == 0


def test_removed_by_hand(site: Site) -> None:
    docker("rm", "--force", f"{NAME}-{ROUTER}-0")
    created = {("create", f"container {NAME}-{ROUTER}-0")}
    check(site, Case(created, {"image"}, {ROUTER}))


@pytest.mark.parametrize(
    ("flags", "field"),
    [
        (["--memory", "900m", "--memory-swap", "900m"], "live memory_bytes"),
        (["--restart", "no"], "live restart"),
    ],
)
def test_edited_with_docker_update(site: Site, flags: list[str], field: str) -> None:
    docker("update", *flags, f"{NAME}-{ENGINE}-0")
    check(site, Case(recreate(ENGINE), {field}, {ENGINE}))


def test_connected_to_another_network(site: Site) -> None:
    docker("network", "connect", "bridge", f"{NAME}-{ENGINE}-0")
    check(site, Case(recreate(ENGINE), {"live networks"}, {ENGINE}))


def test_configuration_edited_by_hand(site: Site) -> None:
    mounts = site.container(ROUTER).attrs["Mounts"]
    (source,) = (mount["Source"] for mount in mounts if mount["Destination"] == "/etc/litellm")
    config = Path(source) / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("num_retries: 2", "num_retries: 9"))
    announced = {("update", f"file {config}"), ("restart", f"container {NAME}-{ROUTER}-0")}
    check(site, Case(announced, {"configuration"}, set(), {ROUTER}))
    assert config.read_text() == text


@pytest.mark.long
def test_two_services_exchange_their_ports(site: Site, changed: Change) -> None:
    """Neither can start before the other one has let go: both stop, then both start."""
    one, other = int(site.settings["router"]["port"]), free_port()
    timeout = {"start_timeout_seconds": START_TIMEOUT_SECONDS}
    site.converge(changed(web_ui={"port": other} | timeout))
    site.write(changed(router__port=other, web_ui={"port": one} | timeout))
    planned = site.apply()
    assert {step for step in planned.announced if step[0] == "recreate"} == {
        ("recreate", f"container {site.name}-{service}-0") for service in (ROUTER, "open-webui")
    }
    assert _published(site, ROUTER) == other
    assert _published(site, "open-webui") == one
    assert "a, b = b, a + b" in site.complete()


def _published(site: Site, service: str) -> int:
    [bindings] = site.container(service).attrs["HostConfig"]["PortBindings"].values()
    return int(bindings[0]["HostPort"])
