"""Fetches the files of a repository into the hub's cache; runs inside an engine's image.

    python3 -c "$(cat fetch_weights.py)" fetch|place </path/to/job.json

It needs huggingface_hub, as every image of vLLM has it, and nothing of Atelier. The job comes on
standard input, because the token is in it:

    {"hub": "/weights/hub", "record": "/weights/atelier/org--name/main", "endpoint": "https://..",
     "repository": "org/name", "revision": "main", "commit": "..", "token": "", "environment": {},
     "files": [{"path": "config.json", "size": 519, "blob": ".."}], "tell_seconds": 15}

The client keeps nothing of a file whose transfer was cut (since its release 2.2), so each file is
fetched with the client's own transfer into ``blobs/<name>.part`` and goes on from there; a blob
has its name only when its digest was right. Then the snapshot is laid out as the client does, and
the client is asked for it offline, as vLLM asks. The record is written last.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

Job = dict[str, Any]
AT_A_TIME = 4
ATTEMPTS = 5
"""So often a transfer may break without anything having come."""
LONGEST_WAIT_SECONDS = 600
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
CHUNK_BYTES = 1024 * 1024
MB = 1000**2
SHA256_LENGTH = 64


class FetchError(Exception):
    """Something cannot be fetched; the text is for people."""


def say(line: str) -> None:
    """Print a line, also when no one reads it any more."""
    with suppress(OSError):
        print(line, flush=True)  # noqa: T201 - it is what the operator sees


def folder_of(job: Job) -> Path:
    """The repository's folder in the cache."""
    return Path(str(job["hub"])) / ("models--" + str(job["repository"]).replace("/", "--"))


def blob_of(job: Job, file: Job) -> Path:
    """Where the content of a file is kept."""
    return folder_of(job) / "blobs" / str(file["blob"])


def size_of(path: Path) -> int:
    """Size of a file; 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def arrived(job: Job) -> int:
    """How many bytes are there, of what is to come."""
    blobs = {str(file["blob"]): blob_of(job, file) for file in job["files"]}
    return sum(size_of(blob) or size_of(part_of(blob)) for blob in blobs.values())


def part_of(blob: Path) -> Path:
    """Where a blob is until it is whole and right."""
    return blob.with_name(f"{blob.name}.part")


def digest_is_right(path: Path, file: Job) -> bool:
    """Whether a file is what its name says: SHA-256 of large ones, git's object id of others."""
    name = str(file["blob"])
    digest = hashlib.sha256() if len(name) == SHA256_LENGTH else hashlib.sha1(usedforsecurity=False)
    if len(name) != SHA256_LENGTH:
        digest.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest() == name


def transfer(job: Job, file: Job, stop: threading.Event) -> None:
    """Bring one file; goes on where it was cut.

    Raises:
        FetchError: if it does not come.
    """
    blob, failures = blob_of(job, file), 0
    while size_of(blob) != file["size"] or not blob.exists():
        before = size_of(part_of(blob))
        try:
            receive(job, file)
        except FetchError:
            raise
        except Exception as error:
            wait_or_give_up(job, file, error, stop)
            came = size_of(part_of(blob)) > before
            failures = 0 if came else failures + 1
            if failures >= ATTEMPTS or stop.is_set():
                raise FetchError(f"{file['path']} was not fetched: {explain(error)}") from error
            continue
        if not digest_is_right(part_of(blob), file):
            part_of(blob).unlink()
            failures += 1
            say(f"{file['path']}: what arrived was corrupt, fetching it again")
            if failures >= ATTEMPTS:
                raise FetchError(f"{file['path']} arrives with a wrong digest every time")
            continue
        part_of(blob).chmod(0o644)
        part_of(blob).replace(blob)


def receive(job: Job, file: Job) -> None:
    """One transfer of the hub's own client, appended to what is there."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    where = {"revision": job["commit"], "endpoint": job["endpoint"]}
    url = hf_hub_url(job["repository"], file["path"], **where)
    headers = build_hf_headers(token=job["token"] or False)
    part = part_of(blob_of(job, file))
    if size_of(part) > file["size"]:
        part.unlink()
    with part.open("ab") as target:
        # compressed on the way, the size of what is left would not be known
        headers["Accept-Encoding"] = "identity"
        http_get(
            url,
            target,
            resume_size=target.tell(),
            headers=headers,
            expected_size=file["size"],
            displayed_filename=file["path"],
        )
    if size_of(part) != file["size"]:
        raise OSError(f"{size_of(part)} of {file['size']} bytes arrived")


def wait_or_give_up(job: Job, file: Job, error: Exception, stop: threading.Event) -> None:
    """Wait before the next attempt, as long as the hub says where it limits requests.

    Raises:
        FetchError: if another attempt would not help.
    """
    response = getattr(error, "response", None)
    status = int(getattr(response, "status_code", 0) or 0)
    if status in {401, 403, 404} or "certificate verify failed" in str(error).lower():
        raise FetchError(f"{file['path']} was not fetched: {explain(error)}")
    seconds = 2.0
    if status == 429:
        said = str(response.headers.get("Retry-After", "")) if response is not None else ""
        seconds = float(said) if said.isdigit() else 30.0
        if seconds > LONGEST_WAIT_SECONDS:
            raise FetchError(f"the hub limits requests, and wants {seconds:.0f} s without any")
        say(f"{job['repository']}: the hub limits requests, waiting {seconds:.0f} s")
    elif isinstance(error, OSError) and error.errno in NO_ROOM:
        raise FetchError(f"{file['path']} was not fetched: {error.strerror}")
    stop.wait(seconds)


def explain(error: Exception) -> str:
    """What an error of the client says, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def fetch(job: Job) -> None:
    """Bring every file that is not there yet, largest first, and say how far it is.

    Raises:
        FetchError: if one of them does not come.
    """
    stop = threading.Event()
    files = {str(file["blob"]): file for file in job["files"]}.values()
    total = sum(file["size"] for file in files)
    started, before = time.monotonic(), arrived(job)
    if before:
        say(f"{job['repository']}: going on after {before / MB:.0f} MB")

    def tell() -> None:
        while not stop.wait(job["tell_seconds"]):
            now = arrived(job)
            rate = (now - before) / MB / max(time.monotonic() - started, 1)
            doing = "comparing digests" if now >= total else f"{rate:.1f} MB/s"
            say(f"{job['repository']}: {now / MB:.0f} of {total / MB:.0f} MB, {doing}")

    threading.Thread(target=tell, daemon=True).start()
    pool = ThreadPoolExecutor(AT_A_TIME)
    ordered = sorted(files, key=lambda file: -int(file["size"]))
    running = [pool.submit(_stopping(transfer, stop), job, file, stop) for file in ordered]
    try:
        for future in running:
            future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _stopping(work: Callable[..., None], stop: threading.Event) -> Callable[..., None]:
    """The same work, whose failure ends the others."""

    def run(*arguments: Any) -> None:
        try:
            work(*arguments)
        except BaseException:
            stop.set()
            raise

    return run


def place(job: Job) -> None:
    """Lay the snapshot out as the client does, and ask the client for it.

    Raises:
        FetchError: if a file is missing, or the client does not find it.
    """
    folder = folder_of(job)
    for file in job["files"]:
        blob, link = blob_of(job, file), folder / "snapshots" / job["commit"] / file["path"]
        if not blob.exists() or size_of(blob) != file["size"]:
            raise FetchError(f"{file['path']} is not there")
        link.parent.mkdir(parents=True, exist_ok=True)
        new = link.with_name(f"{link.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(os.path.relpath(blob, link.parent))
        new.replace(link)
    if job["revision"] != job["commit"]:
        write(folder / "refs" / job["revision"], str(job["commit"]))
    # with a list of all files the client would miss those that vLLM does not need
    (folder / "trees" / f"{job['commit']}.json").unlink(missing_ok=True)
    os.environ["HF_HUB_OFFLINE"] = "1"
    from huggingface_hub import snapshot_download

    found = snapshot_download(
        job["repository"], revision=job["revision"], cache_dir=job["hub"], local_files_only=True
    )
    if Path(found).name != job["commit"]:
        raise FetchError(f"the client finds {found} for {job['revision']}")


def write(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def record(job: Job) -> str:
    """What is written down: the commit, then size, blob and path of each file."""
    rows = [f"{file['size']} {file['blob']} {file['path']}" for file in job["files"]]
    return "\n".join([job["commit"], *rows]) + "\n"


def main() -> int:
    """Do the job on standard input."""
    job = json.load(sys.stdin)
    os.environ.update(job["environment"])
    os.environ |= {"HF_ENDPOINT": job["endpoint"], "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
    os.umask(0o022)
    begun = Path(job["record"] + ".begun")
    (folder_of(job) / "blobs").mkdir(parents=True, exist_ok=True)
    write(begun, record(job))
    try:
        if sys.argv[1] == "fetch":
            fetch(job)
        place(job)
    except FetchError as error:
        say(f"{job['repository']}: {error}")
        return 1
    write(Path(job["record"]), record(job))
    begun.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
