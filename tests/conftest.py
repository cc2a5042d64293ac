"""Deployments to test with: the demo's, and others made from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from deploy import Deployment
from deploy.artefacts import Artefacts, make_artefacts
from deploy.catalog import Catalog, load_catalog
from deploy.operations.change import CHANGES_FILE
from deploy.spec import DeploymentSpec
from tests import examples  # noqa: F401 - its profiles
from tests.e2e.at_once import AtOnce
from tests.e2e.schedule import make_scheduler
from tests.recognisable import write_secrets

settings.load_profile("atelier")

SLOW = (
    *(
        "hub/test_client",
        "hub/test_here",
        "live/load/test_session",
        "operations/test_transitions",
        "operations/test_whole_replica",
    ),
    *("people/test_aristote_people", "people/test_both", "people/test_people"),
    *("cli/test_interrupt", "cli/test_load", "cli/test_recommend"),
    *("hosts/test_ssh_shell", "hosts/test_ssh_transport", "hosts/test_ssh_ways"),
    *("plan/placement/test_properties", "plan/test_routers"),
    *("scripts/test_ollama_script", "recommend/test_recommend"),
    *("scripts/test_container_script", "scripts/test_daemon_script", "scripts/test_lock_script"),
    *("scripts/test_driver_script", "scripts/test_gpu_settings_script"),
    *("scripts/test_service_script", "templates/test_haproxy_watch", "templates/test_link"),
    *("templates/test_aristote", "templates/test_vllm_hang_watch", "templates/test_vllm_node"),
    *("live/test_browsers", "live/test_hanging_docker", "live/test_local_command"),
    *("test_people_runs", "test_pyinfra", "test_real_locks", "test_two_operators", "test_world"),
    *("test_fake_vllm",),
)
"""Modules, or what their names begin with, whose tests take seconds: real programs, sockets and
runs of pyinfra. ``make check`` leaves them to ``make test``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(TESTS) and str(item.path.relative_to(TESTS)).startswith(SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling | None:
    """Here, since what is in a directory below is not asked where that is not named as well."""
    return make_scheduler(config, log) if config.option.dist == "load" else None


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if terminal := config.pluginmanager.get_plugin("terminalreporter"):
        config.pluginmanager.register(AtOnce(terminal))


TESTS = Path(__file__).parent
MakeArtefacts = Callable[..., Artefacts]


def declare(**more: Any) -> DeploymentSpec:
    """The demo's deployment with other settings."""
    demo: dict[str, Any] = {
        "name": "demo",
        "profile": "individual",
        "hosts": [{"name": "@local"}],
        "models": [{"name": "tiny-coder"}],
    }
    return Deployment(**demo | more)


@pytest.fixture
def make(tmp_path: Path) -> MakeArtefacts:
    """Makes artefacts whose secrets have recognisable values."""

    def _make(**more: Any) -> Artefacts:
        spec = declare(**more)
        write_secrets(tmp_path / ".secrets" / f"{spec.name}.yaml")
        return make_artefacts(spec, tmp_path)

    return _make


@pytest.fixture
def demo(make: MakeArtefacts) -> Artefacts:
    """The demo, from images that are pulled."""
    return make()


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()


def catalog_with(**parts: Any) -> Catalog:
    """The shipped catalogue with some of its files replaced."""
    changed = Catalog()
    for name, rows in parts.items():
        setattr(changed, name, rows)
    return changed


@pytest.fixture
def announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Any]]:
    """What operations announced so far, as they write it for ``atelier check``."""
    path = tmp_path / "changes.jsonl"
    monkeypatch.setenv(CHANGES_FILE, str(path))

    def read() -> list[Any]:
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]

    return read
