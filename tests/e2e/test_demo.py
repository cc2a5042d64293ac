"""`make demo` on this machine, and a chat in a browser."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import docker
import pytest
import yaml
from playwright.sync_api import Page, sync_playwright

from tests.e2e.site import PROJECT

ARTIFACTS = PROJECT / ".cache" / "artifacts"
SERVICES = {"demo-llama-cpp-tiny-coder-0", "demo-litellm-0", "demo-open-webui-0"}
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def make(target: str) -> str:
    finished = subprocess.run(
        ["make", target],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


def containers() -> dict[str, str]:
    client = docker.from_env()
    only: dict[str, Any] = {"label": "io.atelier.deployment=demo"}
    found = {str(item.name): str(item.id) for item in client.containers.list(filters=only)}
    client.close()
    return found


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """The demo's first output; a demo that ran before keeps running afterwards."""
    ran_before = bool(containers())
    yield make("demo")
    if not ran_before:
        make("demo-down")
        assert containers() == {}


def test_demo_deploys_and_answers(demo: str) -> None:
    assert set(containers()) == SERVICES
    assert len(re.findall(r"^ok ", demo, flags=re.MULTILINE)) == 6
    for shown in ("http://127.0.0.1:3000", "http://127.0.0.1:4000/v1", ".secrets/demo.yaml"):
        assert shown in demo


def test_second_demo_changes_nothing(demo: str) -> None:
    before = containers()
    again = make("demo")
    assert containers() == before
    total = re.search(r"Grand total +(\d+) +(\S+) +(\S+) +(\d+)", again)
    assert total is not None, again
    assert total.groups()[1:] == ("-", "-", total[1])


def test_containers_are_confined(demo: str) -> None:
    client = docker.from_env()
    for name in SERVICES:
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


def test_images_carry_no_build_settings(demo: str) -> None:
    """The building machine's CA bundle reaches no image."""
    for name in SERVICES:
        found = subprocess.run(
            ["docker", "exec", name, "sh", "-c", "ls /build /extra-ca.crt; env"],
            capture_output=True,
            text=True,
        ).stdout
        assert "extra-ca" not in found
        assert "PIP_" not in found


def test_chat_in_a_browser(demo: str) -> None:
    kept = yaml.safe_load((PROJECT / "inventories/.secrets/demo.yaml").read_text())
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=CHROMIUM_FLAGS
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        outside: list[str] = []
        page.on("request", lambda request: note_outside(request.url, outside))
        try:
            log_in(page, "admin@atelier.local", kept["web_ui_admin_password"])
            chat(page, "Write a Python function fib.")
            page.wait_for_function(
                "() => document.body.innerText.includes('a, b = b, a + b')", timeout=60_000
            )
            page.wait_for_timeout(1500)
        finally:
            page.screenshot(path=ARTIFACTS / "chat.png")
            (ARTIFACTS / "chat.json").write_text(json.dumps(outside))
            browser.close()
    assert outside == [], "the page asked other hosts"


def note_outside(url: str, outside: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1:3000", "ws://127.0.0.1:3000", "data:", "blob:")):
        outside.append(url)


def log_in(page: Page, email: str, password: str) -> None:
    page.goto("http://127.0.0.1:3000/auth")
    page.wait_for_selector("input[type=email]", timeout=60_000)
    page.fill("input[type=email]", email)
    page.fill("input[type=password]", password)
    page.click("button[type=submit]")
    page.wait_for_selector("#chat-input", timeout=60_000)


def chat(page: Page, message: str) -> None:
    page.wait_for_timeout(1500)
    page.keyboard.press("Escape")  # the notes on what is new
    page.click("#chat-input")
    page.keyboard.type(message)
    page.wait_for_timeout(300)
    page.keyboard.press("Enter")
