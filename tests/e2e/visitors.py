"""People with browsers, who log in where the web UI sends them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from tests.e2e.hosts import docker
from tests.e2e.names import PROJECT
from tests.e2e.provider import Login
from tests.e2e.site import START_TIMEOUT_SECONDS

WAIT_MS = START_TIMEOUT_SECONDS * 1000
ARTIFACTS = PROJECT / ".cache" / "artifacts"
"""Where pictures of what browsers show are kept."""
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-unit-update",
    "--disable-sync",
]
SIZE: ViewportSize = {"width": 1280, "height": 800}


@dataclass
class Visitor:
    """Somebody with a browser of their own."""

    page: Page
    url: str

    def log_in(self, person: Login, label: str) -> None:
        """Continue with the provider, and say there who one is."""
        self.page.goto(f"{self.url}/auth")
        self.page.get_by_role("button", name=f"Continue with {label}").click(timeout=WAIT_MS)
        self.page.wait_for_selector("input[name=login]", timeout=WAIT_MS)
        self.page.fill("input[name=login]", person.name)
        self.page.locator("button[type=submit]").first.click()
        self.page.wait_for_selector("input[name=password]", timeout=WAIT_MS)
        self.page.fill("input[name=password]", person.password)
        self.page.locator("button[type=submit]").first.click()

    def wait_until_in(self) -> None:
        self.page.wait_for_selector("#chat-input", timeout=WAIT_MS)

    @property
    def token(self) -> str:
        """What the browser shows to the web UI."""
        (cookie,) = (c for c in self.page.context.cookies() if c.get("name") == "token")
        assert cookie["secure"] is True
        return str(cookie["value"])


@contextmanager
def run_browser(*trusted: x509.Certificate, program: Path = CHROMIUM) -> Iterator[Browser]:
    """Chromium, without a window.

    Args:
        trusted: certificates of servers that it believes next to those that systems know.
        program: what runs it.
    """
    digests = ",".join(map(_key_digest, trusted))
    flags = [*FLAGS, f"--ignore-certificate-errors-spki-list={digests}"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=flags)
        yield opened
        opened.close()


def chromium_beside(container: str, directory: Path) -> Path:
    """A program that runs Chromium in the network of a container.

    When a container starts or ends, an interface of this machine comes or goes, and Chromium
    aborts every request that does not stay on the machine (ERR_NETWORK_CHANGED).
    """
    pid = docker("inspect", "--format", "{{.State.Pid}}", container)
    program = directory / "chromium"
    program.write_text(f'#!/bin/sh\nexec nsenter --net=/proc/{pid}/ns/net {CHROMIUM} "$@"\n')
    program.chmod(0o755)
    return program


def _key_digest(certificate: x509.Certificate) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    key = certificate.public_key().public_bytes(serialization.Encoding.DER, form)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


def wait_for(page: Page, selector: str) -> None:
    """Wait until a page shows something; load it again if it does not.

    Its requests are aborted when a container starts or ends meanwhile: see chromium_beside.
    """
    for _ in range(3):
        try:
            page.wait_for_selector(selector, timeout=WAIT_MS / 3)
        except PlaywrightTimeoutError:
            page.reload()
        else:
            return
    page.wait_for_selector(selector, timeout=WAIT_MS)


def chat(page: Page, question: str) -> None:
    """Ask, in a page where somebody is logged in."""
    page.wait_for_timeout(1500)
    page.keyboard.press("Escape")  # the notes on what is new
    page.click("#chat-input")
    page.keyboard.type(question)
    page.wait_for_timeout(300)
    page.keyboard.press("Enter")


@contextmanager
def visitor(browser: Browser, url: str, picture: str) -> Iterator[Visitor]:
    """A browser that has never been there; a picture of the last that it shows is kept."""
    context = browser.new_context(locale="en-US", viewport=SIZE)
    page = context.new_page()
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    try:
        yield Visitor(page, url)
    finally:
        page.screenshot(path=ARTIFACTS / f"login-{picture}.png")
        context.close()
