"""Archives of programs: fetched once to this machine, and only the declared one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.errors import ProgramError
from deploy.programs import ProgramArchive, fetch_archive
from tests.serving import QuietHandler, running

DATA = b"not really an archive" * 10_000
SHA256 = hashlib.sha256(DATA).hexdigest()


@dataclass
class Release:
    """A page with one file, behind a redirect as releases have it."""

    url: str
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Release]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            page.asked.append(self.path)
            if self.path == "/latest.tar.gz":
                self.send_response(302)
                self.send_header("Location", "/file")
                self.end_headers()
            elif self.path == "/file":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(DATA)
            else:
                self.send_error(404)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    page = Release(f"http://127.0.0.1:{server.server_address[1]}")
    with running(server):
        yield page


def test_it_is_fetched_once(release: Release) -> None:
    archive, said = ProgramArchive(SHA256, f"{release.url}/latest.tar.gz"), list[str]()
    first = fetch_archive(archive, said.append)
    assert first.path.read_bytes() == DATA
    assert (first.size_bytes, first.sha256) == (len(DATA), SHA256)
    assert fetch_archive(archive, said.append) == first
    assert release.asked == ["/latest.tar.gz", "/file"]
    assert said == [f"fetching {release.url}/latest.tar.gz to this machine"]


def test_another_file_is_refused(release: Release, tmp_path: Path) -> None:
    archive = ProgramArchive("0" * 64, f"{release.url}/file")
    with pytest.raises(ProgramError, match=f"what came has sha256 {SHA256}"):
        fetch_archive(archive, lambda _: None)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("url", ["{here}/gone", "http://127.0.0.1:9", "http://[::1/x.tar.gz"])
def test_a_page_that_does_not_have_it(release: Release, url: str) -> None:
    url = url.format(here=release.url)
    with pytest.raises(ProgramError, match="cannot be fetched"):
        fetch_archive(ProgramArchive(SHA256, url), lambda _: None)
