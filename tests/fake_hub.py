"""A server that speaks as much of Hugging Face's API as its client and Atelier ask for.

As the hub does: small files are answered themselves, large ones (LFS) with a redirect to a content
server on another port, which refuses whoever brings the token along. Requests are written down.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.serving import running

LARGE = (".safetensors", ".bin", ".pth", ".gguf", ".pt")
API = re.compile(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)(?:/.*)?")
RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
CHUNK_BYTES = 16 * 1024
Files = dict[str, bytes]


def blob_name(path: str, content: bytes) -> str:
    """SHA-256 of large files, git's object id of others."""
    if path.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass
class Repository:
    """What is in a repository, by commit."""

    commits: dict[str, Files]
    refs: dict[str, str]
    token: str = ""
    """Its files are given to whoever has this token only (gated)."""
    is_private: bool = False
    """Whether others are told that it does not exist."""

    def commit_of(self, revision: str) -> str | None:
        """The commit that a revision stands for."""
        return self.refs.get(revision, revision if revision in self.commits else None)


@dataclass
class FakeHub:
    """What the server has, how it behaves, and what it was asked."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    url: str = ""
    content_url: str = ""
    cuts: list[int] = field(default_factory=list)
    """Each of the next transfers of a large file is cut after so many bytes."""
    limits: list[int] = field(default_factory=list)
    """Each of the next requests is refused with 429 and this Retry-After."""
    corrupt: int = 0
    """So many of the next transfers bring a wrong byte."""
    chunk_seconds: float = 0.0
    """How long each chunk of a large file takes."""
    requests: list[str] = field(default_factory=list)
    """Method, path and range of every request."""
    sent_bytes: int = 0
    """Of large files."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def publish(self, name: str, files: Files, revision: str = "main") -> str:
        """Commit files to a branch; returns the commit."""
        listed = json.dumps({path: blob_name(path, data) for path, data in sorted(files.items())})
        commit = hashlib.sha1(listed.encode(), usedforsecurity=False).hexdigest()
        repository = self.repositories.setdefault(name, Repository({}, {}))
        repository.commits[commit] = files
        repository.refs[revision] = commit
        return commit

    def asked(self, text: str) -> list[str]:
        """The requests with a text in them."""
        return [request for request in self.requests if text in request]

    def content(self, blob: str) -> bytes:
        """The file of that name."""
        return next(
            data
            for repository in self.repositories.values()
            for files in repository.commits.values()
            for path, data in files.items()
            if blob_name(path, data) == blob
        )

    def take(self, queue: list[int]) -> int | None:
        """The next of what is to go wrong."""
        with self.lock:
            return queue.pop(0) if queue else None


@contextmanager
def run_hub(
    listen: str = "127.0.0.1", address: str = "", certificate: Path | None = None
) -> Iterator[FakeHub]:
    """A server that lives as long as the context.

    Args:
        listen: where it listens.
        address: where others reach it, if elsewhere.
        certificate: a file with a key and its certificate, for TLS.
    """
    hub = FakeHub()
    servers = [_server(hub, listen, kind) for kind in (_Api, _Content)]
    scheme = "https" if certificate else "http"
    for server in servers if certificate else ():
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(str(certificate))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    hub.url, hub.content_url = (
        f"{scheme}://{address or listen}:{server.server_address[1]}" for server in servers
    )
    with running(servers[0]), running(servers[1]):
        yield hub


def _server(hub: FakeHub, listen: str, kind: type[_Handler]) -> ThreadingHTTPServer:
    bound: Any = type(kind.__name__, (kind,), {"hub": hub})
    return ThreadingHTTPServer((listen, 0), bound)


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        where = self.headers.get("Range", "")
        self.hub.requests.append(f"{self.command} {self.path} {where}".strip())
        self.respond()

    def respond(self) -> None:
        raise NotImplementedError

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str, message: str) -> None:
        self.send(status, message.encode(), X_Error_Code=code, X_Error_Message=message)

    def log_message(self, *_: Any) -> None:
        """Requests are not printed."""


class _Api(_Handler):
    def respond(self) -> None:
        seconds = self.hub.take(self.hub.limits)
        if seconds is not None:
            self.send(429, b"Too many requests", Retry_After=str(seconds))
            return
        split = urlsplit(self.path)
        path = unquote(split.path)
        api, resolve = API.fullmatch(path), RESOLVE.fullmatch(path)
        if api:
            repository = self._repository(api[1])
            if repository:
                self._describe(api, repository, parse_qs(split.query))
        elif resolve:
            repository = self._repository(resolve[1])
            if repository:
                self._resolve(resolve, repository)
        else:
            self.refuse(404, "", "Not Found")

    def _repository(self, name: str) -> Repository | None:
        repository = self.hub.repositories.get(name)
        said = self.headers.get("Authorization", "")
        if repository and repository.token and said not in {"", f"Bearer {repository.token}"}:
            self.refuse(401, "", "Invalid credentials in Authorization header")
            return None
        if repository and not (repository.is_private and not said):
            return repository
        # the hub does not say whether there is something that others may not see
        self.refuse(404 if said else 401, "RepoNotFound", "Repository not found")
        return None

    def _describe(
        self, api: re.Match[str], repository: Repository, query: dict[str, list[str]]
    ) -> None:
        commit = repository.commit_of(api[3])
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {api[3]}")
            return
        rows = [_row(path, data) for path, data in sorted(repository.commits[commit].items())]
        if api[2] == "tree":
            self.send(200, json.dumps(rows).encode(), Content_Type="application/json")
            return
        siblings = [{"rfilename": row["path"]} for row in rows]
        if query.get("blobs"):
            siblings = [
                {"rfilename": row["path"], "blobId": row["oid"], "size": row["size"]}
                | (
                    {"lfs": {"sha256": row["lfs"]["oid"], "size": row["size"], "pointerSize": 134}}
                    if "lfs" in row
                    else {}
                )
                for row in rows
            ]
        answer = {
            "id": api[1],
            "sha": commit,
            "private": repository.is_private,
            "gated": "manual" if repository.token else False,
            "siblings": siblings,
        }
        self.send(200, json.dumps(answer).encode(), Content_Type="application/json")

    def _resolve(self, resolve: re.Match[str], repository: Repository) -> None:
        commit = repository.commit_of(resolve[2])
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {resolve[2]}")
            return
        data = repository.commits[commit].get(resolve[3])
        if data is None:
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        if repository.token and not self.headers.get("Authorization"):
            self.refuse(401, "GatedRepo", "Access to this model is restricted.")
            return
        blob = blob_name(resolve[3], data)
        common: dict[str, Any] = {"X_Repo_Commit": commit, "Accept_Ranges": "bytes"}
        if resolve[3].endswith(LARGE):
            linked: dict[str, Any] = {"X_Linked_Size": str(len(data)), "X_Linked_ETag": f'"{blob}"'}
            self.send(302, **common, **linked, Location=f"{self.hub.content_url}/{blob}")
        else:
            self.send(200, data, **common, ETag=f'"{blob}"')


class _Content(_Handler):
    def respond(self) -> None:
        if self.headers.get("Authorization"):
            self.send(400, b"Only one auth mechanism allowed")
            return
        data = self.hub.content(self.path.strip("/"))
        begin = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        offset = int(begin[1]) if begin else 0
        rest = data[offset:]
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {offset}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.command != "HEAD":
            self._send_in_chunks(rest)

    def _send_in_chunks(self, rest: bytes) -> None:
        hub, cut = self.hub, self.hub.take(self.hub.cuts)
        if hub.corrupt and rest:
            hub.corrupt -= 1
            rest = bytes([rest[0] ^ 1]) + rest[1:]
        ends = len(rest) if cut is None else min(cut, len(rest))
        for at in range(0, ends, CHUNK_BYTES):
            chunk = rest[at : min(at + CHUNK_BYTES, ends)]
            self.wfile.write(chunk)
            with hub.lock:
                hub.sent_bytes += len(chunk)
            if hub.chunk_seconds:
                threading.Event().wait(hub.chunk_seconds)
        if ends < len(rest):
            self.close_connection = True
            self.connection.close()


def _row(path: str, data: bytes) -> dict[str, Any]:
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    row: dict[str, Any] = {"type": "file", "path": path, "oid": oid, "size": len(data)}
    if path.endswith(LARGE):
        row["lfs"] = {"oid": blob_name(path, data), "size": len(data), "pointerSize": 134}
    return row
