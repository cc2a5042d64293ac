"""Proxies of this machine that Atelier's own requests cannot go through."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from deploy.errors import ProgramError
from deploy.hub.here import ask
from deploy.programs import ProgramArchive, fetch_archive

NOWHERE = "http://127.0.0.1:9/file"
PASSWORD = "s3cr#t"


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1080", "pip install 'httpx[socks]'"),
        ("https_proxy", f"http://alice:{PASSWORD}@proxy:3128", "as http://proxy.example:3128"),
        ("HTTPS_PROXY", "socks4://127.0.0.1:1080", "as http://proxy.example:3128"),
        ("NO_PROXY", "localhost,fe80::/10", "no ranges of IPv6"),
    ],
)
def test_a_proxy_that_is_not_understood_is_told(
    name: str, value: str, fix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "socksio", None)
    said = ask("GET", NOWHERE, "").failure
    assert f"the proxies of this machine cannot be used ({name}): " in said
    assert fix in said
    assert "s3cr" not in said
    with pytest.raises(ProgramError, match=re.escape(said)):
        fetch_archive(ProgramArchive(sha256="0" * 64, url=NOWHERE), report=print)


def test_a_proxy_without_a_scheme_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "127.0.0.1:9")
    assert "refused" in ask("GET", "http://hub.example/", "").failure
