"""Ollama for real: its models are created, answer through the router, and follow what is declared.

What there is, is read from Ollama's own API in its container.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.catalog import load_catalog
from tests.e2e import names
from tests.e2e.privacy import look_for_leaks, searched
from tests.e2e.site import (
    MASTER_KEY,
    START_TIMEOUT_SECONDS,
    Result,
    Settings,
    Site,
    free_port,
    run_local_site,
)
from tests.split_gguf import split_gguf

NAME = f"{names.NAME}-ollama"
CHAT, CODER = "ollama-chatty", "ollama-tiny-coder"
HOME = "/var/lib/ollama"
BEFORE = 'def fib(n):\n    """Return the n-th Fibonacci number."""\n    a, b = 0, 1\n'
AFTER = "    return a\n"


@dataclass
class Deployed:
    """The site and how it came to be."""

    site: Site
    settings: Settings
    file: Path
    dry: Result
    first: Result


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A model that chats, from a file of the operator's, and the catalogue's that completes."""
    directory = tmp_path_factory.mktemp("ollama")
    file = directory / "chatty.gguf"
    shutil.copy(load_catalog().models["tiny-coder"].path or "", file)
    settings: Settings = {
        "profile": "individual",
        "hosts": [{"name": "@local", "directory": str(tmp_path_factory.mktemp("host"))}],
        "engine": {"kind": "ollama", "start_timeout_seconds": START_TIMEOUT_SECONDS},
        "models": [
            {"name": "tiny-coder", "roles": ["completion"]},
            {"name": "chatty", "path": file.name, "roles": ["chat"], "max_model_len": 2048},
        ],
        "router": {"port": free_port(), "start_timeout_seconds": START_TIMEOUT_SECONDS},
        "web_ui": None,
        "image_source": "build",
        "secrets": {"router_master_key": {"env": "E2E_MASTER_KEY"}},
    }
    with run_local_site(NAME, directory, settings) as site:
        dry = site.dry_run()
        yield Deployed(site, site.settings, file, dry, site.deploy())


@pytest.fixture
def site(deployed: Deployed) -> Site:
    assert deployed.first.status == 0, deployed.first.output
    return deployed.site


def api(site: Site, service: str, path: str) -> Any:
    """What Ollama itself says, asked within its container: its API is not published."""
    url = f"http://127.0.0.1:11434/api/{path}"
    asked = site.container(service).exec_run(["curl", "-fsS", url])
    assert asked.exit_code == 0, asked.output
    assert isinstance(asked.output, bytes)
    return json.loads(asked.output)


def digests(site: Site, service: str) -> dict[str, str]:
    return {row["name"]: row["digest"] for row in api(site, service, "tags")["models"]}


def post(site: Site, path: str, **body: Any) -> dict[str, Any]:
    reply = httpx.post(
        f"{site.router_url}/v1/{path}",
        headers={"Authorization": f"Bearer {MASTER_KEY}"},
        json={"max_tokens": 80, "temperature": 0} | body,
        timeout=START_TIMEOUT_SECONDS,
    )
    reply.raise_for_status()
    choice: dict[str, Any] = reply.json()["choices"][0]
    return choice


def model_of(service: str) -> str:
    name = f"{service.removeprefix('ollama-')}:latest"
    return f"model {name} in {NAME}-{service}-0"


def container_of(service: str) -> str:
    return f"container {NAME}-{service}-0"


def settled(site: Site) -> None:
    again = site.deploy()
    assert (again.status, again.succeeded, again.announced) == (0, 0, set()), again.output


def test_the_first_deployment_is_announced(deployed: Deployed, site: Site) -> None:
    made = deployed.dry.announced
    assert made == deployed.first.announced
    for service in (CHAT, CODER):
        assert {("create", model_of(service)), ("create", container_of(service))} <= made
    settled(site)


def test_models_are_created_and_stay_loaded(site: Site) -> None:
    assert list(digests(site, CHAT)) == ["chatty:latest"]
    assert list(digests(site, CODER)) == ["tiny-coder:latest"]
    (loaded,) = api(site, CODER, "ps")["models"]
    assert loaded["name"] == "tiny-coder:latest"
    assert loaded["expires_at"] > "2200"
    (found,) = api(site, CODER, "tags")["models"]
    assert "insert" in found["capabilities"]


def test_ollama_is_confined(site: Site) -> None:
    attributes = site.container(CODER).attrs
    assert attributes["Config"]["User"] == "65534:65534"
    assert attributes["HostConfig"]["ReadonlyRootfs"] is True
    assert not attributes["HostConfig"]["PortBindings"]
    assert "GOPROXY" not in str(attributes["Config"]["Env"])


def test_chat_through_the_router(site: Site) -> None:
    messages = [{"role": "user", "content": "Write a Python function fib."}]
    choice = post(site, "chat/completions", model="chatty", messages=messages)
    assert "a, b = b, a + b" in choice["message"]["content"]


def test_filling_in_the_middle_through_the_router(site: Site) -> None:
    """The suffix reaches the model: with it the function is not ended a second time."""
    prompt = f"{BEFORE}    for _ in range(n):\n"
    alone = post(site, "completions", model="tiny-coder", prompt=prompt)["text"]
    assert "a, b = b, a + b" in alone
    assert "return a" in alone
    between = post(site, "completions", model="tiny-coder", prompt=prompt, suffix=AFTER)["text"]
    assert "a, b = b, a + b" in between
    assert "return a" not in between
    tokens = f"<|fim_prefix|>{prompt}<|fim_suffix|>{AFTER}<|fim_middle|>"
    # editors that write the tokens themselves
    assert post(site, "completions", model="tiny-coder", prompt=tokens)["text"] == between


def test_ollama_run_in_the_container(site: Site) -> None:
    command = ["docker", "exec", f"{NAME}-{CHAT}-0", "ollama", "run", "chatty", "ping"]
    asked = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (asked.returncode, asked.stdout.strip()) == (0, "pong")


def test_nothing_of_what_people_ask_is_kept(site: Site) -> None:
    """Not in the logs of Ollama and its llama.cpp, nor next to the models."""
    answer = look_for_leaks(site)
    engines = [f"{NAME}-{engine}-0" for engine in (CHAT, CODER)]
    assert {f"{kind} {engine}" for kind in ("log", "files") for engine in engines} <= set(
        searched(answer)
    )
    ended = [row["ended"] for row in answer["asked"]]
    assert ended.count("200") > 5


@pytest.mark.parametrize(
    "command",
    [
        "ollama rm tiny-coder",
        "cd /tmp; printf 'FROM tiny-coder\\nSYSTEM x' >Modelfile; ollama create tiny-coder",
    ],
    ids=["removed", "edited"],
)
def test_a_model_changed_by_hand_is_made_again(site: Site, command: str) -> None:
    before, running = digests(site, CODER), site.snapshot()
    status, output = site.container(CODER).exec_run(["sh", "-c", command])
    assert status == 0, output
    assert digests(site, CODER) != before
    assert site.dry_run().announced == {("create", model_of(CODER))}
    assert site.deploy().announced == {("create", model_of(CODER))}
    assert digests(site, CODER) == before
    assert site.snapshot() == running
    settled(site)


def test_a_model_that_was_unloaded_is_loaded(site: Site) -> None:
    assert site.container(CODER).exec_run(["ollama", "stop", "tiny-coder"])[0] == 0
    assert site.dry_run().announced == {("load", model_of(CODER))}
    assert site.deploy().succeeded == 1
    assert [row["name"] for row in api(site, CODER, "ps")["models"]] == ["tiny-coder:latest"]


def test_a_container_removed_by_hand_finds_its_model(site: Site) -> None:
    """The volume is looked into while there is no container."""
    before = digests(site, CODER)
    site.container(CODER).remove(force=True)
    expected = {("create", container_of(CODER)), ("load", model_of(CODER))}
    assert site.dry_run().announced == expected
    assert site.deploy().announced == expected
    assert digests(site, CODER) == before
    settled(site)


def test_another_file_is_another_model(deployed: Deployed, site: Site) -> None:
    before = digests(site, CHAT)
    weights = bytearray(deployed.file.read_bytes())
    weights[-100] ^= 1
    deployed.file.write_bytes(weights)
    dry, made = site.dry_run(), site.deploy()
    assert made.status == 0, made.output
    assert dry.announcements == made.announcements
    assert {("recreate", container_of(CHAT)), ("create", model_of(CHAT))} < made.announced
    assert len(made.announced) == 3  # and the file is copied
    after = digests(site, CHAT)
    assert list(after) == list(before)
    assert after != before
    settled(site)


def test_a_broken_file_leaves_the_model_that_serves(deployed: Deployed, site: Site) -> None:
    good, before = deployed.file.read_bytes(), digests(site, CHAT)
    # the last tensor begins there, and ends after the file
    deployed.file.write_bytes(good[:-100])
    failed = site.deploy()
    assert failed.status == 1
    assert "what was there before still serves" in failed.output
    assert digests(site, CHAT) == before
    test_chat_through_the_router(site)
    deployed.file.write_bytes(good)
    assert site.deploy().status == 0
    assert digests(site, CHAT) == before
    settled(site)


def test_a_model_in_parts_is_created_from_all_of_them(deployed: Deployed, site: Site) -> None:
    first, *_ = split_gguf(deployed.file, deployed.file.with_name("parted"), 3)
    coder, chatty = deployed.settings["models"]
    site.write(deployed.settings | {"models": [coder, chatty | {"path": first.name}]})
    made = site.deploy()
    assert made.status == 0, made.output
    copied = [resource for action, resource in made.announced if action == "copy"]
    assert len(copied) == 3
    test_chat_through_the_router(site)
    settled(site)
    site.converge(deployed.settings)


def test_a_model_no_longer_declared_is_removed(deployed: Deployed, site: Site) -> None:
    """With its weights; what somebody else has put into the same store stays."""
    site.container(CHAT).exec_run(["ollama", "cp", "chatty", "somebody-elses"])
    coder = [model for model in deployed.settings["models"] if model["name"] == "tiny-coder"]
    site.write(deployed.settings | {"models": coder})
    dry, made = site.dry_run(), site.deploy()
    assert made.status == 0, made.output
    assert {("remove", model_of(CHAT)), ("remove", container_of(CHAT))} < made.announced
    # but for the name of the router's new configuration, which both know
    assert dry.announcements == made.announcements
    assert set(site.snapshot()) == {f"{NAME}-{CODER}-0", f"{NAME}-litellm-0"}
    left = site.client.containers.run(
        site.container(CODER).attrs["Image"],
        ["-c", f"cd {HOME}/.ollama/models/manifests && find . -type f"],
        entrypoint="sh",
        volumes={f"{NAME}-{CHAT}-0": {"bind": HOME, "mode": "ro"}},
        remove=True,
    )
    assert left.split() == [b"./registry.ollama.ai/library/somebody-elses/latest"]
    settled(site)
