"""`make demo` on this machine, and a chat in a browser."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from playwright.sync_api import Page

from tests.e2e.inventories import Copy, copy_of
from tests.e2e.names import PROJECT
from tests.e2e.site import remove_deployment
from tests.e2e.visitors import ARTIFACTS, SIZE, WAIT_MS, chat, run_browser, wait_for

SERVICES = ("llama-cpp-tiny-coder", "litellm", "open-webui")


def make(target: str, inventory: Path) -> str:
    finished = subprocess.run(
        ["make", target, f"INVENTORY={inventory}"],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


def containers(deployment: str) -> dict[str, str]:
    client = docker.from_env()
    only: dict[str, Any] = {"label": f"io.atelier.deployment={deployment}"}
    found = {str(item.name): str(item.id) for item in client.containers.list(filters=only)}
    client.close()
    return found


@dataclass(frozen=True)
class Demo(Copy):
    """A demo of this checkout, and what the first run printed."""

    output: str

    @property
    def services(self) -> set[str]:
        return {f"{self.name}-{service}-0" for service in SERVICES}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    copy = copy_of("demo", tmp_path_factory.mktemp("demo"))
    remove_deployment(copy.name)
    try:
        yield Demo(**vars(copy), output=make("demo", copy.inventory))
        make("demo-down", copy.inventory)
        assert containers(copy.name) == {}
    finally:
        remove_deployment(copy.name)


def test_demo_deploys_and_answers(demo: Demo) -> None:
    assert set(containers(demo.name)) == demo.services
    assert len(re.findall(r"^ok ", demo.output, flags=re.MULTILINE)) == 6
    for shown in (demo.web_ui_url, f"{demo.router_url}/v1", f".secrets/{demo.name}.yaml"):
        assert shown in demo.output


def test_second_demo_changes_nothing(demo: Demo) -> None:
    before = containers(demo.name)
    again = make("demo", demo.inventory)
    assert containers(demo.name) == before
    total = re.search(r"Grand total +(\d+) +(\S+) +(\S+) +(\d+)", again)
    assert total is not None, again
    assert total.groups()[1:] == ("-", "-", total[1])


def test_containers_are_confined(demo: Demo) -> None:
    client = docker.from_env()
    for name in demo.services:
        attributes = client.containers.get(name).attrs
        limits = attributes["HostConfig"]
        assert limits["CapDrop"] == ["ALL"]
        assert limits["SecurityOpt"] == ["no-new-privileges"]
        assert limits["ReadonlyRootfs"] is True
        assert limits["Memory"] > 0
        assert limits["LogConfig"]["Config"]["max-size"] == "10m"
        assert attributes["Config"]["User"] == "65534:65534"
        for bindings in (limits["PortBindings"] or {}).values():
            assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]
    client.close()


def test_images_carry_no_build_settings(demo: Demo) -> None:
    """The building machine's CA bundle reaches no image."""
    for name in demo.services:
        found = subprocess.run(
            ["docker", "exec", name, "sh", "-c", "ls /build /extra-ca.crt; env"],
            capture_output=True,
            text=True,
        ).stdout
        assert "extra-ca" not in found
        assert "PIP_" not in found


def test_chat_in_a_browser(demo: Demo) -> None:
    secrets = demo.inventory.parent / ".secrets" / f"{demo.name}.yaml"
    kept = yaml.safe_load(secrets.read_text())
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with run_browser() as browser:
        page = browser.new_page(viewport=SIZE, locale="en-US")
        outside: list[str] = []
        page.on("request", lambda request: note_outside(demo, request.url, outside))
        try:
            log_in(page, demo.web_ui_url, "admin@atelier.local", kept["web_ui_admin_password"])
            chat(page, "Write a Python function fib.")
            page.wait_for_function(
                "() => document.body.innerText.includes('a, b = b, a + b')", timeout=WAIT_MS
            )
            page.wait_for_timeout(1500)
        finally:
            page.screenshot(path=ARTIFACTS / "chat.png")
            (ARTIFACTS / "chat.json").write_text(json.dumps(outside))
    assert outside == [], "the page asked other hosts"


def note_outside(demo: Demo, url: str, outside: list[str]) -> None:
    own = (demo.web_ui_url, demo.web_ui_url.replace("http", "ws"), "data:", "blob:")
    if not url.startswith(own):
        outside.append(url)


def log_in(page: Page, url: str, email: str, password: str) -> None:
    page.goto(f"{url}/auth")
    wait_for(page, "input[type=email]")
    page.fill("input[type=email]", email)
    page.fill("input[type=password]", password)
    page.click("button[type=submit]")
    wait_for(page, "#chat-input")
