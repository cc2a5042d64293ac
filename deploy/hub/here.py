"""The hub, asked from this machine, and its files, fetched here to be copied to hosts."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import httpx

from deploy.hub.answers import LONGEST_WAIT_SECONDS, TOO_MANY, Answer
from deploy.hub.listing import HubFile
from deploy.local_file import LocalFile, user_cache
from deploy.outward import open_client
from deploy.units import MB

ASK_SECONDS = 30
ATTEMPTS = 5
"""So often a transfer may break without anything having come."""
CHUNK_BYTES = 1024 * 1024
TELL_SECONDS = 15
SHA256_LENGTH = 64
Report = Callable[[str], None]


class FetchError(Exception):
    """A file cannot be fetched; the text is for people."""


def ask(method: str, url: str, token: str) -> Answer:
    """What the hub answers this machine; a redirect of a file is its answer.

    Args:
        method: ``GET`` or ``HEAD``.
        url: of the hub.
        token: the token, or nothing.
    """
    try:
        with _client(token) as client:
            reply = client.request(method, url, follow_redirects=method == "GET")
    except httpx.HTTPError as error:
        return Answer(failure=str(error) or type(error).__name__)
    return Answer(reply.status_code, dict(reply.headers), reply.text)


def fetch_file(file: HubFile, url: str, token: str, report: Report) -> LocalFile:
    """A file of the hub on this machine: in the cache of its own client if it is there, else ours.

    Raises:
        FetchError: if it does not come.
    """
    path = user_cache() / "weights" / file.blob
    own = next(_in_the_clients_cache(file), None)
    if own is not None and _digest_is_right(own, file):
        return LocalFile(own, file.size_bytes, _sha256(own, file))
    if not path.is_file() or path.stat().st_size != file.size_bytes:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _fetch(file, path, url, token, report)
    return LocalFile(path, file.size_bytes, _sha256(path, file))


def room_here(files: Iterable[HubFile]) -> tuple[int, int]:
    """How many bytes of these files are still to be fetched to this machine, and its free space."""
    place = user_cache() / "weights"
    missing = {
        file.blob: file.size_bytes - _size(place / f"{file.blob}.part")
        for file in files
        if not (place / file.blob).is_file() and next(_in_the_clients_cache(file), None) is None
    }
    while not place.is_dir():
        place = place.parent
    return sum(missing.values()), shutil.disk_usage(place).free


def _client(token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # the machine's own certificates: a proxy with an authority of its own is trusted where it is
    verify = ssl.create_default_context()
    return open_client(timeout=ASK_SECONDS, headers=headers, verify=verify)


def _in_the_clients_cache(file: HubFile) -> Iterator[Path]:
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    for path in hub.glob(f"models--*/blobs/{file.blob}"):
        if path.stat().st_size == file.size_bytes:
            yield path


def _fetch(file: HubFile, path: Path, url: str, token: str, report: Report) -> None:
    part, failures = path.with_name(f"{path.name}.part"), 0
    while True:
        before = _size(part)
        try:
            if before < file.size_bytes or not part.exists():
                _receive(file, part, url, token, report)
            if _size(part) == file.size_bytes and _digest_is_right(part, file):
                part.replace(path)
                return
            part.unlink()
            reason = "it arrives with a wrong digest"
        except httpx.HTTPStatusError as error:
            _wait_or_give_up(file, error, report)
            reason = str(error)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
        except OSError as error:
            raise FetchError(f"{file.path} was not fetched: {error.strerror} ({part})") from error
        failures = 0 if _size(part) > before else failures + 1
        if failures >= ATTEMPTS:
            raise FetchError(f"{file.path} was not fetched: {reason}; run it again to go on")
        time.sleep(1)


def _receive(file: HubFile, part: Path, url: str, token: str, report: Report) -> None:
    """One transfer, after what an earlier one left."""
    offset, told = _size(part), time.monotonic()
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    with (
        _client(token) as client,
        client.stream("GET", url, headers=headers, follow_redirects=True) as reply,
    ):
        reply.raise_for_status()
        with part.open(
            "ab" if reply.status_code == httpx.codes.PARTIAL_CONTENT else "wb"
        ) as target:
            for chunk in reply.iter_bytes(CHUNK_BYTES):
                target.write(chunk)
                if time.monotonic() - told > TELL_SECONDS:
                    told = time.monotonic()
                    done = f"{target.tell() / MB:.0f} of {file.size_bytes / MB:.0f} MB"
                    report(f"{file.path}: {done} fetched to this machine")


def _wait_or_give_up(file: HubFile, error: httpx.HTTPStatusError, report: Report) -> None:
    reply = error.response
    answer = Answer(reply.status_code, dict(reply.headers))
    if answer.status == TOO_MANY and answer.retry_seconds <= LONGEST_WAIT_SECONDS:
        report(f"the hub limits requests, waiting {answer.retry_seconds} s")
        time.sleep(answer.retry_seconds)
    elif answer.status < httpx.codes.INTERNAL_SERVER_ERROR:
        raise FetchError(f"{file.path} was not fetched: status {answer.status}") from error


def _digest_is_right(path: Path, file: HubFile) -> bool:
    if len(file.blob) == SHA256_LENGTH:
        return _hash(path, "sha256", b"") == file.blob
    return _hash(path, "sha1", f"blob {path.stat().st_size}\0".encode()) == file.blob


def _sha256(path: Path, file: HubFile) -> str:
    return file.blob if len(file.blob) == SHA256_LENGTH else _hash(path, "sha256", b"")


def _hash(path: Path, kind: str, before: bytes) -> str:
    digest = hashlib.new(kind, before, usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
