"""Files fetched to this machine, for hosts with no way out."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from deploy.hub import HubFile, parse_listing
from deploy.hub.here import FetchError, ask, fetch_file
from deploy.hub.listing import file_url, listing_url
from tests.fake_hub import FakeHub
from tests.hub.conftest import MB

NAME, TOKEN = "lab/coder", "hf_" + "s3cr" * 8


@pytest.fixture(autouse=True)
def _homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))


def file_of(hub: FakeHub, path: str) -> tuple[HubFile, str]:
    listing = parse_listing(NAME, httpx.get(listing_url(hub.url, NAME, "main")).text)
    file = next(file for file in listing.files if file.path == path)
    return file, file_url(hub.url, NAME, listing.commit, path)


def test_a_file_comes_once(hub: FakeHub, tmp_path: Path) -> None:
    for path in ("model.safetensors", "config.json"):
        file, url = file_of(hub, path)
        hub.requests.clear()
        local = fetch_file(file, url, "", report=print)
        assert local.path == tmp_path / "cache" / "atelier" / "weights" / file.blob
        assert local.path.read_bytes() == hub.content(file.blob)
        assert (local.size_bytes, len(local.sha256)) == (file.size_bytes, 64)
        asked = len(hub.requests)
        assert fetch_file(file, url, "", report=print) == local
        assert len(hub.requests) == asked


def test_a_transfer_that_was_cut_is_gone_on_with(hub: FakeHub) -> None:
    file, url = file_of(hub, "model.safetensors")
    hub.cuts = [MB + MB // 2]
    local = fetch_file(file, url, "", report=print)
    assert local.path.read_bytes() == hub.content(file.blob)
    assert hub.asked("bytes=")
    assert hub.sent_bytes < 3 * MB


def test_a_corrupt_file_is_fetched_anew_and_in_the_end_refused(hub: FakeHub) -> None:
    file, url = file_of(hub, "model.safetensors")
    hub.corrupt = 1
    assert fetch_file(file, url, "", report=print).path.read_bytes() == hub.content(file.blob)
    hub.publish(NAME, {"model.safetensors": os.urandom(1000)})
    file, url = file_of(hub, "model.safetensors")
    hub.corrupt = 100
    with pytest.raises(FetchError, match="arrives with a wrong digest"):
        fetch_file(file, url, "", report=print)


def test_what_the_clients_cache_has_is_taken_from_there(hub: FakeHub, tmp_path: Path) -> None:
    file, url = file_of(hub, "model.safetensors")
    blob = tmp_path / "huggingface" / "hub" / "models--lab--coder" / "blobs" / file.blob
    blob.parent.mkdir(parents=True)
    blob.write_bytes(hub.content(file.blob))
    hub.requests.clear()
    assert fetch_file(file, url, "", report=print).path == blob
    assert hub.requests == []
    blob.write_bytes(b"0" * file.size_bytes)
    assert fetch_file(file, url, "", report=print).path != blob


def test_a_hub_that_limits_requests_is_waited_for(hub: FakeHub) -> None:
    file, url = file_of(hub, "config.json")
    hub.limits = [0]
    said: list[str] = []
    fetch_file(file, url, "", report=said.append)
    assert said == ["the hub limits requests, waiting 0 s"]


def test_a_gated_file_wants_the_token(hub: FakeHub) -> None:
    file, url = file_of(hub, "model.safetensors")
    hub.repositories[NAME].token = TOKEN
    with pytest.raises(FetchError, match=r"model\.safetensors was not fetched: status 401"):
        fetch_file(file, url, "", report=print)
    assert fetch_file(file, url, TOKEN, report=print).size_bytes == file.size_bytes


def test_questions_and_answers(hub: FakeHub) -> None:
    _, url = file_of(hub, "model.safetensors")
    assert ask("HEAD", url, "").status == 302
    assert ask("GET", listing_url(hub.url, NAME, "main"), "").status == 200
    assert ask("GET", listing_url(hub.url, NAME, "v9"), "").headers["x-error-code"] == (
        "RevisionNotFound"
    )
    assert "refused" in ask("GET", "http://127.0.0.1:9/", "").failure


def test_a_certificate_that_is_not_trusted_is_said(
    tls_hub: FakeHub, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = listing_url(tls_hub.url, NAME, "main")
    assert "certificate" in ask("GET", url, "").failure
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert ask("GET", url, "").status == 200
