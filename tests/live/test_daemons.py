"""``atelier status``, ``logs`` and ``verify`` on a Mac: what launchctl, ps and files say."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.errors import ServiceError
from deploy.live import engine_questions, status
from deploy.live.connection import Connection
from deploy.live.daemons import is_loaded, read_daemon, read_log
from deploy.live.metal import metal_device
from deploy.live.ollama import gpu_share
from deploy.live.privacy.logs import search_log
from deploy.live.privacy.needles import Mark, Needles
from tests.conftest import MakeArtefacts
from tests.fake_mac import FakeMac
from tests.services.test_launchd import engine_of, llama_of, on_a_mac

NAME = "demo-ollama-qwen2.5-coder-7b-0"


class OnMac(Connection):
    """A connection that runs its commands on a Mac of tests."""

    def __init__(self, mac: FakeMac) -> None:
        self.mac = mac
        self.streamed: list[str] = []

    def run(self, command: str) -> tuple[int, str]:
        done: subprocess.CompletedProcess[str] = self.mac.shell(command)
        return done.returncode, done.stdout + done.stderr

    def stream(self, command: str) -> Iterator[bytes]:
        self.streamed.append(command)
        yield b"a line\n"


@pytest.fixture
def mac(tmp_path: Path) -> FakeMac:
    return FakeMac(tmp_path / "mac")


def install(mac: FakeMac, text: str, marks: str, kind: str = "good") -> None:
    """A daemon as a deployment leaves it, whose program behaves so."""
    service = mac.directory / "services" / NAME
    service.mkdir()
    (service / "marks").write_text(marks)
    (mac.directory / "LaunchDaemons" / f"{NAME}.plist").write_text(text)
    loaded = mac.directory / "launchd" / "loaded"
    loaded.mkdir(parents=True, exist_ok=True)
    (loaded / NAME).write_text(kind)
    curl = mac.directory / "bin" / "curl"
    curl.write_text("#!/bin/sh\nexit 0\n")
    curl.chmod(0o755)


def test_status(make: MakeArtefacts, mac: FakeMac) -> None:
    artefacts = on_a_mac(make)
    unit = engine_of(artefacts)
    install(mac, *unit.create_arguments("demo", artefacts.secrets.digest))
    found = status.READERS["launchd"](unit, artefacts, OnMac(mac))
    assert found.ok, found
    assert (found.service, found.host, found.image) == (NAME, "mac", "ollama 0.34.4")
    assert found.url == "http://10.0.0.21:8000"
    assert abs(found.uptime_seconds - 3725) < 30
    # of all processes of its group
    assert found.memory_bytes == 3000 * 1024
    assert found.memory_limit_bytes == unit.runs.memory_bytes


def test_no_one_is_told_to_open_what_only_a_link_reaches(make: MakeArtefacts, mac: FakeMac) -> None:
    artefacts = on_a_mac(make, engine={"kind": "ollama"})
    unit = engine_of(artefacts)
    install(mac, *unit.create_arguments("demo", artefacts.secrets.digest))
    found = status.READERS["launchd"](unit, artefacts, OnMac(mac))
    assert (found.ok, found.url) == (True, "")


def test_status_of_one_that_was_edited_and_disabled(make: MakeArtefacts, mac: FakeMac) -> None:
    artefacts = on_a_mac(make)
    unit = engine_of(artefacts)
    text, marks = unit.create_arguments("demo", artefacts.secrets.digest)
    install(mac, text + "\n", marks, kind="crash")
    (mac.directory / "launchd" / "disabled").mkdir(exist_ok=True)
    (mac.directory / "launchd" / "disabled" / NAME).touch()
    found = status.READERS["launchd"](unit, artefacts, OnMac(mac))
    assert not found.ok
    assert (found.state, found.drift) == ("exited", ("live unit file", "start"))


def test_status_of_one_that_is_not_there(make: MakeArtefacts, mac: FakeMac) -> None:
    artefacts = on_a_mac(make)
    assert read_daemon(OnMac(mac), NAME) is None
    found = status.READERS["launchd"](engine_of(artefacts), artefacts, OnMac(mac))
    assert (found.state, found.ok) == ("absent", False)


@pytest.mark.parametrize(("follow", "flag"), [(True, "-F "), (False, "")])
def test_logs(make: MakeArtefacts, mac: FakeMac, follow: bool, flag: str) -> None:
    artefacts, connection = on_a_mac(make), OnMac(mac)
    assert not is_loaded(connection, NAME)
    install(mac, *engine_of(artefacts).create_arguments("demo", artefacts.secrets.digest))
    assert is_loaded(connection, NAME)
    assert list(read_log(connection, NAME, 20, follow=follow)) == [b"a line\n"]
    assert connection.streamed == [f"tail -n 20 {flag}/var/log/atelier/{NAME}.log"]


@pytest.mark.parametrize(
    ("on_gpu", "answer"),
    [
        (1024**3, "all of it by Metal, 1.0 GiB"),
        (0, "runs on the CPU"),
        (1024**3 // 2, "50 % of it on the CPU"),
    ],
)
def test_metal(monkeypatch: pytest.MonkeyPatch, on_gpu: int, answer: str) -> None:
    """What Ollama says of a model that has just answered."""
    row = {"model": "m:7b", "size": 1024**3, "size_vram": on_gpu}

    def get(url: str, **_: Any) -> httpx.Response:
        assert url == "http://10.0.0.21:8000/api/ps"
        return httpx.Response(200, json={"models": [row]}, request=httpx.Request("GET", url))

    monkeypatch.setattr(httpx, "get", get)
    if on_gpu == 1024**3:
        assert gpu_share("http://10.0.0.21:8000", "m:7b", "apple") == answer
        return
    with pytest.raises(ServiceError, match=answer) as caught:
        gpu_share("http://10.0.0.21:8000", "m:7b", "apple")
    assert "Metal" in str(caught.value)
    assert "nvidia-smi" not in str(caught.value)


def test_what_people_ask_is_looked_for_in_its_log(make: MakeArtefacts, mac: FakeMac) -> None:
    """``atelier verify --privacy``: all of it, as its lines have times of Ollama's own."""
    needles, connection = Needles(Mark.new(), {}), OnMac(mac)
    place = search_log(connection, engine_of(on_a_mac(make)), 0, needles)
    assert (place.kind, place.name, place.problem) == ("log", NAME, "")
    assert connection.streamed == [f"cat /var/log/atelier/{NAME}.log"]


# of llama-server's build 10926 for macOS
DEVICES = """Available devices:
  MTL0: Apple M3 Ultra (196608 MiB, 196607 MiB free)
  BLAS: Accelerate (0 MiB, 0 MiB free)
"""


def llama_server(mac: FakeMac, said: str) -> str:
    """A program that says this of its devices; its path has a space in it."""
    path = mac.directory / "llama server"
    path.write_text(f"#!/bin/sh\n[ $* = --list-devices ] && cat <<end\n{said}end\n")
    path.chmod(0o755)
    return str(path)


def test_llama_cpp_computes_by_metal(mac: FakeMac) -> None:
    program = llama_server(mac, DEVICES)
    assert metal_device(OnMac(mac), program, NAME) == "Apple M3 Ultra"


def test_a_llama_server_that_is_not_made_for_macs(mac: FakeMac) -> None:
    for said in ("Available devices:\n", DEVICES.replace("MTL0", "CUDA0"), ""):
        with pytest.raises(ServiceError, match="llama-server sees no GPU"):
            metal_device(OnMac(mac), llama_server(mac, said), NAME)


def test_verify_says_what_computes(
    make: MakeArtefacts, mac: FakeMac, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Next to what llama.cpp on the Mac answered, by the program that serves."""
    artefacts, _ = llama_of(make, path=llama_server(mac, DEVICES))
    [replica] = artefacts.plan.replicas
    monkeypatch.setattr(engine_questions, "engine_url", lambda *_: "http://none")
    monkeypatch.setattr(engine_questions, "complete", lambda *_: "answered 'ok'")
    hosts: dict[str, Connection] = {"mac": OnMac(mac)}
    question = engine_questions.engine_question(artefacts, replica, hosts)
    assert question.ask() == "answered 'ok'; by Metal, on Apple M3 Ultra"
