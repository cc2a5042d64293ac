"""hub.sh with each of its ways to ask, and what weights.sh sees and removes."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.facts.weights import AllWeights, HubAnswer, Weights
from deploy.hub import Answer
from deploy.hub.listing import file_url, listing_url
from deploy.scripts import read_script
from tests.fake_hub import FakeHub, blob_name, run_hub
from tests.hub.conftest import certificate

NAME, TOKEN = "lab/coder", 'hf_"quo\\ted' + "x" * 20
__all__ = ["certificate"]
TOOLS = ("sh", "cat", "printf", "sed", "tr")


@pytest.fixture(params=["curl", "python3"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A search path on which a host has one of the programs that can ask."""
    for tool in (*TOOLS, request.param):
        found = sys.executable if tool == "python3" else shutil.which(tool)
        if found is None:
            pytest.skip(f"{tool} is not installed")
        (tmp_path / tool).symlink_to(os.path.realpath(found))
    return str(tmp_path)


def ask(path: str, method: str, url: str, *lines: str) -> Answer:
    finished = subprocess.run(
        ["sh", "-c", HubAnswer().command(method, url)],
        input="\n".join(lines),
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert TOKEN not in finished.stdout + finished.stderr
    return HubAnswer().process(finished.stdout.splitlines())


def test_the_host_asks_with_what_it_has(path: str) -> None:
    with run_hub() as hub:
        commit = hub.publish(NAME, {"model.safetensors": b"0" * 10, "a.json": b"{}"})
        answer = ask(path, "GET", listing_url(hub.url, NAME, "main"))
        assert (answer.status, commit in answer.body) == (200, True)
        assert ask(path, "HEAD", file_url(hub.url, NAME, commit, "a.json")).status == 200
        large = ask(path, "HEAD", file_url(hub.url, NAME, commit, "model.safetensors"))
        assert (large.status, large.headers["x-linked-size"]) == (302, "10")
        # where a redirect leads is not asked
        assert not [line for line in hub.requests if line.startswith("HEAD") and NAME not in line]
        missing = ask(path, "GET", listing_url(hub.url, NAME, "v9"))
        assert missing.headers["x-error-code"] == "RevisionNotFound"
        hub.repositories[NAME].token = TOKEN
        gated = file_url(hub.url, NAME, commit, "model.safetensors")
        assert ask(path, "HEAD", gated, "").headers["x-error-code"] == "GatedRepo"
        assert ask(path, "HEAD", gated, TOKEN).status == 302


def test_why_there_is_no_answer(path: str) -> None:
    failure = ask(path, "GET", "http://127.0.0.1:9/", "").failure
    assert "refused" in failure or "connect" in failure


def test_proxies_are_taken_from_standard_input(path: str) -> None:
    with run_hub() as proxy:
        ask(path, "GET", "http://hub.invalid/api", TOKEN, f"http_proxy={proxy.url}")
        assert proxy.asked("http://hub.invalid/api")


def test_a_host_that_cannot_ask_says_so(tmp_path: Path) -> None:
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    assert "neither curl nor python3" in ask(str(tmp_path), "GET", "http://hub.lab").failure


def test_a_certificate_that_is_not_trusted_is_said(path: str, certificate: Path) -> None:
    with run_hub(certificate=certificate) as hub:
        assert "certificate" in ask(path, "GET", hub.url).failure.lower()


# what is in a cache


def put(cache: Path, revision: str, files: dict[str, bytes], *, whole: bool = True) -> str:
    """A revision as fetch_weights.py leaves it."""
    hub = FakeHub()
    commit = hub.publish(NAME, files)
    folder = cache / "hub" / "models--lab--coder"
    record = cache / "atelier" / "lab--coder" / (revision if whole else f"{revision}.begun")
    rows = [f"{len(data)} {blob_name(path, data)} {path}" for path, data in files.items()]
    for path, data in files.items():
        blob = folder / "blobs" / blob_name(path, data)
        blob.parent.mkdir(parents=True, exist_ok=True)
        if not whole:
            blob = blob.with_name(f"{blob.name}.part")
        blob.write_bytes(data)
        if whole:
            link = folder / "snapshots" / commit / path
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text("\n".join([commit, *rows]) + "\n")
    if whole:
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / revision).write_text(commit)
    return commit


def run(command: str) -> list[str]:
    finished = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    return finished.stdout.splitlines()


def remove(cache: Path, *triples: str) -> None:
    command = ["sh", "-c", read_script("weights.sh"), "atelier", "remove", str(cache), *triples]
    subprocess.run(command, check=True)


COMMON = {"model.safetensors": b"same in both"}


def test_names_with_spaces_are_seen(tmp_path: Path) -> None:
    commit = put(tmp_path, "main", {"a file.json": b"{}", "sub/b c.txt": b"text"})
    pairs = ((NAME, "main"), (NAME, "v2"), ("lab/none", "main"))
    found = Weights().process(run(Weights().command(str(tmp_path), pairs)))
    assert found[NAME, "main"].is_complete("main")
    assert found[NAME, "main"].commit == commit
    assert found[NAME, "main"].sizes == {"a file.json": 2, "sub/b c.txt": 4}
    assert not found[NAME, "v2"].is_complete("v2")
    assert found[NAME, "v2"].revisions == ("main",)
    assert found["lab/none", "main"].blobs == {}


def test_nothing_is_there_at_first(tmp_path: Path) -> None:
    found = Weights().process(run(Weights().command(str(tmp_path / "none"), ((NAME, "main"),))))
    assert not found[NAME, "main"].is_complete("main")
    assert AllWeights().process(run(AllWeights().command(str(tmp_path / "none")))).weights == ()


def test_what_goes_takes_only_its_own_files_along(tmp_path: Path) -> None:
    old = put(tmp_path, "v1", COMMON | {"config.json": b"old"})
    new = put(tmp_path, "v2", COMMON | {"config.json": b"new"})
    begun = put(tmp_path, "v3", {"other.safetensors": b"half"}, whole=False)
    found = AllWeights().process(run(AllWeights().command(str(tmp_path))))
    assert {(each.record, each.commit) for each in found.weights} == {
        ("v1", old),
        ("v2", new),
        ("v3.begun", begun),
    }
    remove(tmp_path, NAME, "v1", old, NAME, "v3.begun", begun)
    folder = tmp_path / "hub" / "models--lab--coder"
    kept = {blob_name(path, data) for path, data in (COMMON | {"config.json": b"new"}).items()}
    assert {path.name for path in (folder / "blobs").iterdir()} == kept
    assert [path.name for path in (folder / "snapshots").iterdir()] == [new]
    assert [path.name for path in (folder / "refs").iterdir()] == ["v2"]
    remove(tmp_path, NAME, "v2", new)
    assert not folder.exists()


def test_two_names_of_one_commit(tmp_path: Path) -> None:
    """A tag and a branch: the snapshot goes with the last of them."""
    commit = put(tmp_path, "main", COMMON)
    shutil.copytree(tmp_path / "atelier", tmp_path / "saved")
    shutil.copy(tmp_path / "saved/lab--coder/main", tmp_path / "atelier/lab--coder/v1")
    remove(tmp_path, NAME, "v1", commit)
    found = Weights().process(run(Weights().command(str(tmp_path), ((NAME, "main"),))))
    assert found[NAME, "main"].is_complete("main")


def test_what_is_being_fetched_is_left_alone(tmp_path: Path) -> None:
    commit = put(tmp_path, "main", COMMON, whole=False)
    with (tmp_path / "atelier" / "lab--coder.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        remove(tmp_path, NAME, "main.begun", commit)
        assert (tmp_path / "atelier" / "lab--coder" / "main.begun").exists()
    remove(tmp_path, NAME, "main.begun", commit)
    assert not (tmp_path / "atelier" / "lab--coder").exists()


def test_somebody_elses_snapshots_keep_their_files(tmp_path: Path) -> None:
    """A cache of the operator's own has snapshots that Atelier did not bring."""
    put(tmp_path, "theirs", COMMON | {"config.json": b"theirs"})
    (tmp_path / "atelier" / "lab--coder" / "theirs").unlink()
    commit = put(tmp_path, "main", COMMON)
    remove(tmp_path, NAME, "main", commit)
    blobs = tmp_path / "hub" / "models--lab--coder" / "blobs"
    assert len(list(blobs.iterdir())) == 2
