"""Several models in one Ollama, for real: they answer in turn, and come and go while it stays.

What is loaded, and what there is, is read from Ollama's own API in its container.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.catalog import load_catalog
from tests.e2e import names
from tests.e2e.site import START_TIMEOUT_SECONDS, Result, Settings, Site, free_port, run_local_site
from tests.e2e.test_ollama import api, digests, post, settled

NAME = f"{names.NAME}-shared"
SHARED = "ollama-desk"
MESSAGES = [{"role": "user", "content": "Write a Python function fib."}]
CODER: dict[str, Any] = {"name": "tiny-coder", "roles": ["completion"]}


@dataclass
class Deployed:
    """The site and how it came to be."""

    site: Site
    settings: Settings
    third: dict[str, Any]
    dry: Result
    first: Result


def weights_of_its_own(path: Path, place: int) -> dict[str, Any]:
    """The catalogue's small model with another byte: Ollama loads a file once for all its names."""
    weights = bytearray(Path(load_catalog().models["tiny-coder"].path or "").read_bytes())
    weights[-place] ^= 1
    path.write_bytes(weights)
    return {"name": path.stem, "path": path.name, "roles": ["chat"]}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    directory = tmp_path_factory.mktemp("shared")
    chatty = weights_of_its_own(directory / "chatty.gguf", 100)
    third = weights_of_its_own(directory / "third.gguf", 200)
    engine = {"kind": "ollama", "shared": "desk", "start_timeout_seconds": START_TIMEOUT_SECONDS}
    settings: Settings = {
        "profile": "individual",
        "hosts": [{"name": "@local", "directory": str(tmp_path_factory.mktemp("host"))}],
        "engine": engine | {"max_model_len": 2048},
        "models": [CODER, chatty],
        "router": {"port": free_port(), "start_timeout_seconds": START_TIMEOUT_SECONDS},
        "web_ui": None,
        "image_source": "build",
        "secrets": {"router_master_key": {"env": "E2E_MASTER_KEY"}},
    }
    with run_local_site(NAME, directory, settings) as site:
        dry = site.dry_run()
        yield Deployed(site, site.settings, third, dry, site.deploy())


@pytest.fixture
def site(deployed: Deployed) -> Site:
    assert deployed.first.status == 0, deployed.first.output
    return deployed.site


def loaded(site: Site) -> list[str]:
    return [row["name"] for row in api(site, SHARED, "ps")["models"]]


def container(site: Site) -> str:
    found = site.container(SHARED).id
    assert found
    return found


def in_shared(model: str) -> str:
    return f"model {model}:latest in {NAME}-{SHARED}-0"


def changed(site: Site, settings: Settings) -> Result:
    """A change of the inventory: the dry run says what the run does, and the next does nothing."""
    site.write(settings)
    dry, made = site.dry_run(), site.deploy()
    assert made.status == 0, made.output
    assert dry.announcements == made.announcements
    settled(site)
    return made


def test_one_container_and_both_models_are_announced(deployed: Deployed, site: Site) -> None:
    made = deployed.dry.announced
    assert made == deployed.first.announced
    engines = {each for each in made if "ollama" in each[1] and each[0] == "create"}
    assert engines == {
        ("create", f"volume {NAME}-{SHARED}-0"),
        ("create", f"container {NAME}-{SHARED}-0"),
        ("create", in_shared("tiny-coder")),
        ("create", in_shared("chatty")),
    }
    assert set(digests(site, SHARED)) == {"tiny-coder:latest", "chatty:latest"}
    settled(site)


def test_one_is_unloaded_for_the_other(site: Site) -> None:
    text = post(site, "completions", model="tiny-coder", prompt="def fib(n):")["text"]
    assert "a, b = b, a + b" in text
    assert loaded(site) == ["tiny-coder:latest"]
    answer = post(site, "chat/completions", model="chatty", messages=MESSAGES)
    assert "a, b = b, a + b" in answer["message"]["content"]
    assert loaded(site) == ["chatty:latest"]
    # a model that nobody has loaded is nothing to be put right
    assert site.dry_run().announced == set()


def test_every_model_is_asked_by_verify(site: Site) -> None:
    asked = site.atelier("verify")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert "engine tiny-coder" in asked.stdout
    assert "engine chatty" in asked.stdout


def test_one_comes_and_one_goes_while_the_container_stays(deployed: Deployed, site: Site) -> None:
    before, kept = container(site), digests(site, SHARED)["tiny-coder:latest"]
    made = changed(site, deployed.settings | {"models": [CODER, deployed.third]})
    assert {("create", in_shared("third")), ("remove", in_shared("chatty"))} < made.announced
    assert not [each for each in made.announced if each[1] == f"container {NAME}-{SHARED}-0"]
    assert container(site) == before
    assert set(digests(site, SHARED)) == {"tiny-coder:latest", "third:latest"}
    assert digests(site, SHARED)["tiny-coder:latest"] == kept
    answer = post(site, "chat/completions", model="third", messages=MESSAGES)
    assert "a, b = b, a + b" in answer["message"]["content"]
    assert loaded(site) == ["third:latest"]


@pytest.mark.long
def test_three_answer_in_turn_and_one_is_dropped(deployed: Deployed, site: Site) -> None:
    site.converge(deployed.settings)
    before = container(site)
    made = changed(
        site, deployed.settings | {"models": [*deployed.settings["models"], deployed.third]}
    )
    assert {each for each in made.announced if "ollama" in each[1]} == {
        ("create", in_shared("third"))
    }
    for name in ("chatty", "third", "chatty"):
        post(site, "chat/completions", model=name, messages=MESSAGES)
        assert loaded(site) == [f"{name}:latest"]
    made = changed(site, deployed.settings)
    assert {each for each in made.announced if "ollama" in each[1]} == {
        ("remove", in_shared("third"))
    }
    assert container(site) == before


@pytest.mark.long
def test_models_move_to_an_ollama_each_and_back(deployed: Deployed, site: Site) -> None:
    alone = {"kind": "ollama", "start_timeout_seconds": START_TIMEOUT_SECONDS}
    site.converge(deployed.settings)
    changed(site, deployed.settings | {"engine": alone | {"max_model_len": 2048}})
    engines = {name for name in site.snapshot() if "ollama" in name}
    assert engines == {f"{NAME}-ollama-tiny-coder-0", f"{NAME}-ollama-chatty-0"}
    assert list(digests(site, "ollama-chatty")) == ["chatty:latest"]
    post(site, "chat/completions", model="chatty", messages=MESSAGES)
    changed(site, deployed.settings)
    assert {name for name in site.snapshot() if "ollama" in name} == {f"{NAME}-{SHARED}-0"}
    post(site, "completions", model="tiny-coder", prompt="def fib(n):")
    assert loaded(site) == ["tiny-coder:latest"]


@pytest.mark.long
def test_two_are_loaded_where_there_is_room(deployed: Deployed, site: Site) -> None:
    settings = deployed.settings
    changed(site, settings | {"engine": settings["engine"] | {"max_loaded_models": 2}})
    post(site, "completions", model="tiny-coder", prompt="def fib(n):")
    post(site, "chat/completions", model="chatty", messages=MESSAGES)
    assert set(loaded(site)) == {"tiny-coder:latest", "chatty:latest"}
