"""fetch_weights.py with the hub's real client, against a server that speaks the hub's API."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download

from deploy.facts.weights import Weights
from deploy.hub import Listing, needed_files, parse_listing
from deploy.hub.listing import listing_url
from deploy.scripts import read_script
from tests.fake_hub import FakeHub
from tests.hub.conftest import MB

NAME = "lab/coder"
TOKEN = "hf_" + "s3cr" * 8
Job = dict[str, Any]


def listed(hub: FakeHub, revision: str = "main") -> Listing:
    return parse_listing(NAME, httpx.get(listing_url(hub.url, NAME, revision)).text)


def job(hub: FakeHub, cache: Path, revision: str = "main", listing: Listing | None = None) -> Job:
    listing = listing or listed(hub, revision)
    return {
        "hub": str(cache / "hub"),
        "record": str(cache / "atelier" / "lab--coder" / revision),
        "endpoint": hub.url,
        "repository": NAME,
        "revision": revision,
        "commit": listing.commit,
        "token": "",
        "environment": {},
        "files": [
            {"path": file.path, "size": file.size_bytes, "blob": file.blob}
            for file in needed_files(listing.files)
        ],
        "tell_seconds": 0.2,
    }


def start(task: Job, action: str = "fetch") -> subprocess.Popen[str]:
    """The script as a container has it: its text as an argument, the job on standard input."""
    process = subprocess.Popen(
        [sys.executable, "-c", read_script("fetch_weights.py"), action],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(task))
    process.stdin.close()
    return process


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    assert process.stdout is not None
    assert process.stderr is not None
    said = process.stdout.read() + process.stderr.read()
    return process.wait(60), said


def look(cache: Path, revision: str = "main") -> Any:
    """What the look at a host finds there."""
    command = Weights().command(str(cache), ((NAME, revision),))
    finished = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    return Weights().process(finished.stdout.splitlines())[NAME, revision]


def test_the_server_is_what_the_real_client_expects(hub: FakeHub, tmp_path: Path) -> None:
    """And the list of files is what the client makes of it."""
    api = HfApi(endpoint=hub.url, token=False)
    info = api.model_info(NAME, revision="main", files_metadata=True)
    blobs = {
        sibling.rfilename: (sibling.lfs.sha256 if sibling.lfs else sibling.blob_id, sibling.size)
        for sibling in info.siblings or []
    }
    listing = listed(hub)
    assert info.sha == listing.commit
    assert {file.path: (file.blob, file.size_bytes) for file in listing.files} == blobs
    path = hf_hub_download(
        NAME, "model.safetensors", cache_dir=tmp_path, endpoint=hub.url, token=False
    )
    assert Path(path).resolve().name == blobs["model.safetensors"][0]


def test_everything_that_is_needed_comes_and_the_client_finds_it_offline(
    hub: FakeHub, tmp_path: Path
) -> None:
    assert not look(tmp_path).is_complete("main")
    assert finish(start(job(hub, tmp_path)))[0] == 0
    found = snapshot_download(NAME, cache_dir=tmp_path / "hub", local_files_only=True)
    names = {str(p.relative_to(found)) for p in Path(found).rglob("*") if p.is_file()}
    assert names == {"config.json", "model.safetensors", "sub/tokenizer.model"}
    state = look(tmp_path)
    assert state.is_complete("main")
    assert state.commit == Path(found).name
    hub.requests.clear()
    assert finish(start(job(hub, tmp_path)))[0] == 0
    assert hub.asked("/resolve/") == []


def test_what_is_lost_or_cut_short_is_seen(hub: FakeHub, tmp_path: Path) -> None:
    task = job(hub, tmp_path)
    finish(start(task))
    blob = next(tmp_path.glob("hub/*/blobs/" + "?" * 64))
    blob.write_bytes(b"short")
    assert not look(tmp_path).is_complete("main")
    assert finish(start(task))[0] == 0
    assert look(tmp_path).is_complete("main")
    next(tmp_path.glob("hub/*/refs/main")).write_text("f" * 40)
    assert not look(tmp_path).is_complete("main")
    finish(start(task))
    next(tmp_path.glob("hub/*/snapshots/*/config.json")).unlink()
    assert not look(tmp_path).is_complete("main")


def test_a_killed_download_is_gone_on_with(hub: FakeHub, tmp_path: Path) -> None:
    """The client itself keeps nothing of a file when its process ends."""
    hub.publish(NAME, {"model.safetensors": os.urandom(30 * MB)})
    hub.chunk_seconds = 0.001
    process = start(job(hub, tmp_path))
    for _ in range(300):
        if look(tmp_path).there_bytes(needed_files(listed(hub).files)) > 0:
            break
        time.sleep(0.05)
    process.kill()
    finish(process)
    state = look(tmp_path)
    assert state.commit == ""
    there = state.there_bytes(listed(hub).files)
    assert 10 * MB <= there < 30 * MB
    hub.chunk_seconds = 0
    status, said = finish(start(job(hub, tmp_path)))
    assert status == 0
    assert f"going on after {there / MB:.0f} MB" in said
    assert hub.asked(f"bytes={there}-")
    assert look(tmp_path).is_complete("main")


def test_broken_connections_are_put_up_with(hub: FakeHub, tmp_path: Path) -> None:
    hub.publish(NAME, {"model.safetensors": os.urandom(25 * MB)})
    hub.cuts = [15 * MB, MB]
    assert finish(start(job(hub, tmp_path)))[0] == 0
    assert hub.asked("bytes=")
    assert look(tmp_path).is_complete("main")


def test_a_corrupt_file_is_fetched_anew(hub: FakeHub, tmp_path: Path) -> None:
    hub.corrupt = 1
    status, said = finish(start(job(hub, tmp_path)))
    assert (status, "what arrived was corrupt" in said) == (0, True)
    assert look(tmp_path).is_complete("main")


def test_a_file_that_is_always_corrupt_is_never_taken(hub: FakeHub, tmp_path: Path) -> None:
    hub.corrupt = 100
    status, said = finish(start(job(hub, tmp_path)))
    assert status == 1
    assert "model.safetensors arrives with a wrong digest every time" in said
    assert not look(tmp_path).is_complete("main")
    assert not list(tmp_path.glob("hub/*/snapshots/*"))


def test_a_hub_that_limits_requests_is_waited_for(hub: FakeHub, tmp_path: Path) -> None:
    task = job(hub, tmp_path)
    hub.limits = [1]
    assert finish(start(task))[0] == 0


def test_a_gated_repository_wants_the_token(hub: FakeHub, tmp_path: Path) -> None:
    task = job(hub, tmp_path)
    hub.repositories[NAME].token = TOKEN
    status, said = finish(start(task))
    assert status == 1
    assert "was not fetched: GatedRepoError" in said
    status, said = finish(start(task | {"token": "hf_wrong"}))
    assert (status, "hf_wrong" in said) == (1, False)
    status, said = finish(start(task | {"token": TOKEN}))
    assert (status, TOKEN in said) == (0, False)


def test_certificates_are_trusted_where_they_are_declared(
    tls_hub: FakeHub, certificate: Path, tmp_path: Path
) -> None:
    """weights.sh gives the container the host's own authorities in this variable."""
    context = ssl.create_default_context(cafile=str(certificate))
    text = httpx.get(listing_url(tls_hub.url, NAME, "main"), verify=context).text
    task = job(tls_hub, tmp_path, listing=parse_listing(NAME, text))
    status, said = finish(start(task))
    assert (status, "certificate verify failed" in said.lower()) == (1, True)
    trusting = task | {"environment": {"SSL_CERT_FILE": str(certificate)}}
    assert finish(start(trusting))[0] == 0


def test_what_was_copied_is_put_in_place_without_a_network(hub: FakeHub, tmp_path: Path) -> None:
    task = job(hub, tmp_path)
    finish(start(task))
    for path in (*tmp_path.glob("hub/*/snapshots"), *tmp_path.glob("atelier/*/main")):
        path.rename(path.with_name("away"))
    hub.requests.clear()
    assert finish(start(task | {"endpoint": "http://127.0.0.1:9"}, "place"))[0] == 0
    assert look(tmp_path).is_complete("main")
    next(tmp_path.glob("hub/*/blobs/" + "?" * 64)).unlink()
    status, said = finish(start(task, "place"))
    assert (status, "model.safetensors is not there" in said) == (1, True)


def test_a_full_disk_is_said(hub: FakeHub, tmp_path: Path) -> None:
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({MB}, {MB}))\n"
    source = limited + "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    process = subprocess.run(
        [sys.executable, "-c", source + _without_future(), "fetch"],
        input=json.dumps(job(hub, tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 1
    assert "model.safetensors was not fetched" in process.stdout


def _without_future() -> str:
    """The script after lines of another one."""
    return read_script("fetch_weights.py").replace("from __future__ import annotations\n", "")


@pytest.mark.parametrize("revision", ["v2", "commit"])
def test_revisions_share_what_is_the_same(hub: FakeHub, tmp_path: Path, revision: str) -> None:
    finish(start(job(hub, tmp_path)))
    files = next(iter(hub.repositories[NAME].commits.values()))
    commit = hub.publish(NAME, files | {"extra.json": b"{}"}, "v2")
    wanted = commit if revision == "commit" else revision
    sent = hub.sent_bytes
    assert finish(start(job(hub, tmp_path, wanted)))[0] == 0
    assert hub.sent_bytes == sent
    assert look(tmp_path).is_complete("main")
    state = look(tmp_path, wanted)
    assert state.is_complete(wanted)
    assert state.revisions == tuple(sorted(["main", wanted]))
