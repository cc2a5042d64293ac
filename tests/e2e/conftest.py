from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.names import NAME
from tests.e2e.registry import Registry, run_registry
from tests.e2e.remote import EVERYWHERE
from tests.e2e.site import (
    MASTER_KEY,
    START_TIMEOUT_SECONDS,
    Settings,
    Site,
    free_port,
    run_local_site,
)

APART = ("test_ssh", "test_several", "test_entry", "test_people")
"""Modules that share nothing with the others on this machine: they run at the same time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            if item.path.stem.startswith(APART):
                item.add_marker(pytest.mark.apart)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    yield from run_registry(tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="session")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that test hosts reach."""
    yield from run_registry(tmp_path_factory.mktemp("registry"), listen=EVERYWHERE)


@pytest.fixture(scope="session")
def pulled(everywhere: Registry) -> Settings:
    """What a deployment on test hosts declares of images that lie in a registry of this machine."""
    return everywhere.provide("llama-cpp", "litellm")


@pytest.fixture(scope="session")
def base_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Engine and router, without a web UI: what most tests change."""
    return {
        "name": NAME,
        "profile": "individual",
        "hosts": [{"name": "@local", "directory": str(tmp_path_factory.mktemp("host"))}],
        "models": [{"name": "tiny-coder"}],
        "engine": {"start_timeout_seconds": START_TIMEOUT_SECONDS},
        "router": {"port": free_port(), "start_timeout_seconds": START_TIMEOUT_SECONDS},
        "web_ui": None,
        "image_source": "build",
        "secrets": {"router_master_key": {"env": "E2E_MASTER_KEY"}},
    }


@pytest.fixture(scope="session")
def shared_site(
    tmp_path_factory: pytest.TempPathFactory, base_settings: Settings
) -> Iterator[Site]:
    with run_local_site(NAME, tmp_path_factory.mktemp("site"), base_settings) as site:
        yield site


@pytest.fixture
def site(shared_site: Site, base_settings: Settings) -> Site:
    """The shared deployment, as base_settings declare it."""
    shared_site.environment = {"E2E_MASTER_KEY": MASTER_KEY}
    shared_site.converge(base_settings)
    return shared_site


@pytest.fixture
def changed(base_settings: Settings) -> Callable[..., Settings]:
    """The base settings with some of them changed; nested ones by dotted names."""

    def change(**changes: Any) -> Settings:
        settings = copy.deepcopy(base_settings)
        for dotted, value in changes.items():
            *path, last = dotted.split("__")
            target = settings
            for name in path:
                target = target.setdefault(name, {})
            target[last] = value
        return settings

    return change
