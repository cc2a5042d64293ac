"""Signing in before the proof, to a made-up Open WebUI, and what the proof makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.live import checks
from deploy.live.early_login import early_token
from deploy.spec import SecretName
from tests.conftest import MakeArtefacts
from tests.e2e.site import free_port
from tests.live.test_admin_password import WebUI, serving

Site = Callable[[str], Artefacts]


@pytest.fixture
def site(make: MakeArtefacts) -> Site:
    """A deployment whose web UI is reached at a URL."""

    def deployed(url: str) -> Artefacts:
        return make(web_ui={"port": int(url.rpartition(":")[2])})

    return deployed


def test_a_token_of_a_web_ui_that_runs(site: Site) -> None:
    web_ui = WebUI("")
    with serving(web_ui) as url:
        artefacts = site(url)
        web_ui.password = artefacts.secrets.value(SecretName.WEB_UI_ADMIN_PASSWORD)
        assert early_token(artefacts, {}) == "t"


@pytest.mark.parametrize("status", [0, 429, 503])
def test_none_of_one_that_refuses(site: Site, status: int) -> None:
    """With status 0 it finds the password wrong."""
    with serving(WebUI("another", busy=status)) as url:
        assert early_token(site(url), {}) == ""


def test_none_where_nothing_runs_yet(site: Site) -> None:
    assert early_token(site(f"http://127.0.0.1:{free_port()}"), {}) == ""


@pytest.mark.parametrize(
    "more",
    [
        {"web_ui": None},
        # no connection is made for it
        {"hosts": [{"name": "h1", "address": "10.255.255.1"}]},
        # its certificate may still be issued
        {"entry": {"names": ["ai.example.org"], "acme": {"email": "a@b.c", "terms_agreed": True}}},
    ],
)
def test_none_without_a_web_ui_that_can_be_asked_so_early(
    make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    monkeypatch.setattr("deploy.live.early_login.connect", lambda *_, **__: pytest.fail("asked"))
    assert early_token(make(**more), {}) == ""


def test_who_has_a_token_does_not_sign_in_again() -> None:
    web_ui = WebUI("secret", busy=429)
    with serving(web_ui) as url:
        checks.run_check(
            "x", "h1", lambda: checks.chat_in_web_ui(url, "a@b.c", "secret", "tiny", "t")
        )
    assert web_ui.asked == ["/api/chat/completions"]
