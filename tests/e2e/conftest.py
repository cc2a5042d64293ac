from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.names import NAME
from tests.e2e.registry import Registry, run_registry
from tests.e2e.remote import EVERYWHERE
from tests.e2e.schedule import ONE_DEPLOYMENT
from tests.e2e.site import (
    MASTER_KEY,
    Settings,
    Site,
    run_local_site,
    settings_here,
)

LEFT_OUT = {
    "long": (
        *("test_lock", "test_recycling", "test_several", "test_ssh_deployment"),
        *("test_ssh_faults", "test_ssh_gpu"),
    ),
    "wide": ("test_wide",),
    "drivers": ("test_drivers",),
    "saturated": ("test_saturated",),
}
"""Modules that ``make test`` leaves out, by the marker that a target of the Makefile asks for."""
FIRST = ("users_20", *ONE_DEPLOYMENT, "several_hosts", "users_100", "vllm", "ssh_driver", "entry")
"""Those that take longest: the others fill the time until the last of them ends."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            module = item.path.stem
            item.add_marker(pytest.mark.e2e)
            for marker, modules in LEFT_OUT.items():
                if module.startswith(modules):
                    item.add_marker(getattr(pytest.mark, marker))
    # of what is not of this directory the order stays
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    name = item.path.stem.removeprefix("test_")
    is_first = item.path.parent == Path(__file__).parent and name in FIRST
    return FIRST.index(name) if is_first else len(FIRST)


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
    return everywhere.provide("llama-cpp", "litellm", "haproxy", "python")


@pytest.fixture(scope="session")
def base_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Engine and router, without a web UI: what most tests change."""
    return settings_here(NAME, tmp_path_factory.mktemp("host"))


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
