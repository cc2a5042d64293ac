"""What runs vLLM and ends it when it hangs, run as it is with an engine of two processes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.render import TEMPLATES
from deploy.services.hang_watch import EXIT_STATUS
from tests.templates.vllm_programs import load_program

ENGINE = """
import http.server, os, sys, threading, time
port, steps = int(sys.argv[1]), sys.argv[2]
core = os.fork()
if core == 0:
    for step in range(10**6):
        with open(steps + ".new", "w") as file:
            file.write(str(step))
        os.replace(steps + ".new", steps)
        time.sleep(0.02)
with open(steps + ".core", "w") as file:
    file.write(str(core))

def step():
    return int(open(steps).read())

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer("vllm:generation_tokens_total{engine=\\"0\\"} %d.0\\n"
                    "vllm:num_requests_running{engine=\\"0\\"} 3.0\\n" % step())
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        before = step()
        while step() == before or self.path == "/never":
            time.sleep(0.02)
        self.answer("{}")
    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *_):
        pass

while not os.path.exists(steps):
    time.sleep(0.02)
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
CLIENT = "127.0.0.2"
"""An address of this machine that the watch does not take for its own."""
METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
vllm:num_requests_running{engine="0",model_name="m"} 4.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:admission_rejections_total{reason="load"} 7.0
vllm:engine_sleep_state{engine="0",sleep_state="awake"} 1.0
vllm:websocket_connections_total 3.0
vllm:websocket_connection_duration_seconds_sum 3.5
python_gc_objects_collected_total{generation="0"} 9131.0
"""
TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 020012AC:1F40 030012AC:A4D2 01 00000000:00000000 00:00000000 00000000     0        0 1 1
   2: 020012AC:1F40 030012AC:A4D4 06 00000000:00000000 00:00000000 00000000     0        0 1 1
   3: 0100007F:1F40 0100007F:A4D6 01 00000000:00000000 00:00000000 00000000     0        0 1 1
   4: 0000000000000000FFFF0000020012AC:1F40 0000000000000000FFFF0000030012AC:A4D8 01 0:0 0 0 0 1
"""
hang_watch = load_program("hang_watch")


@dataclass
class Running:
    """The watch, its engine, and what both wrote."""

    process: subprocess.Popen[str]
    port: int
    steps: Path
    report: Path

    @property
    def core(self) -> int:
        return int(Path(f"{self.steps}.core").read_text())

    def said(self) -> str:
        """All that was written, once it has ended."""
        return self.process.communicate(timeout=60)[1]


Start = Callable[..., Running]


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    begun = []

    def start(seconds: float = 3, path: str = "/v1/completions") -> Running:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        (tmp_path / "engine.py").write_text(ENGINE)
        steps, report = tmp_path / "steps", tmp_path / "report.json"
        place = {"address": "127.0.0.1", "port": port, "report": str(report)}
        settings = {"seconds": seconds, "path": path, "body": {"max_tokens": 1}, **place}
        engine = [sys.executable, str(tmp_path / "engine.py"), str(port), str(steps)]
        command = [
            *(sys.executable, str(TEMPLATES / "vllm" / "hang_watch.py"), json.dumps(settings)),
            *engine,
        ]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        begun.append(running := Running(process, port, steps, report))
        eventually(lambda: is_open(port))
        return running

    yield start
    for running in begun:
        running.process.kill()
        running.process.wait()
        for number in (running.core, parent_of(running.core)):
            if number > 1:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)


def parent_of(number: int) -> int:
    """The engine that a core belongs to; 0 once they are gone."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[1])


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def ask(running: Running, path: str = "/v1/completions") -> socket.socket:
    """A client that waits for an answer."""
    client = socket.create_connection(("127.0.0.1", running.port), source_address=(CLIENT, 0))
    client.sendall(f"POST {path} HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    return client


def test_one_that_hangs_is_ended_and_says_what_it_was_doing(start: Start) -> None:
    running = start(seconds=2)
    os.kill(running.core, signal.SIGSTOP)
    with ask(running):
        said = running.said()
    assert running.process.returncode == EXIT_STATUS
    assert "atelier: this engine hangs and is started again: nothing has moved for" in said
    assert "1 clients wait, and one token that was asked for has not come" in said
    assert re.search(r"its last figures: num_requests_running 3, .*generation_tokens_total", said)
    assert re.search(rf"process {running.core} \S+: state T, ", said)
    # both processes of Python, the one that was stopped too
    assert said.count("Fatal Python error: Aborted") == 2
    assert "in do_POST" in said
    assert not Path(f"/proc/{running.core}").exists() or parent_of(running.core) <= 1
    report = json.loads(running.report.read_text())
    assert (report["times"], report["why"].startswith("nothing has moved for ")) == (1, True)


def test_one_that_hangs_before_it_is_asked_is_found_as_well(start: Start) -> None:
    running = start(seconds=2)
    os.kill(running.core, signal.SIGSTOP)
    # looks of an engine that nobody asks
    time.sleep(3)
    assert running.process.poll() is None
    with ask(running):
        running.said()
    assert running.process.returncode == EXIT_STATUS


def test_one_that_works_is_left_alone_although_clients_wait(start: Start) -> None:
    """One token is never answered, as in a queue that is full, and a client waits all the time."""
    running = start(path="/never")
    with ask(running, "/never"), pytest.raises(subprocess.TimeoutExpired):
        running.process.wait(6)
    running.process.terminate()
    assert running.process.wait(60) == 128 + signal.SIGTERM


def test_a_signal_is_handed_on_and_the_status_too(tmp_path: Path) -> None:
    settings = {"seconds": 60, "address": "127.0.0.1", "port": 9, "path": "/", "body": {}}
    program = [sys.executable, str(TEMPLATES / "vllm" / "hang_watch.py")]
    command = [*program, json.dumps(settings | {"report": str(tmp_path / "report")}), "sh", "-c"]
    assert subprocess.run([*command, "exit 3"]).returncode == 3
    waits = "trap 'exit 7' TERM; touch ready; while :; do sleep 0.1; done"
    process = subprocess.Popen([*command, waits], cwd=tmp_path)
    eventually((tmp_path / "ready").exists)
    process.terminate()
    assert process.wait(30) == 7


def test_only_figures_that_the_engine_core_moves_count() -> None:
    lines = hang_watch.figures(METRICS)
    assert [line.partition("{")[0] for line in lines] == ["vllm:num_requests_running"] * 2
    assert hang_watch.figure(lines, "num_requests_running") == 5


def test_clients_are_those_from_elsewhere_that_are_connected() -> None:
    found = hang_watch.clients([TABLE, ""], 8000)
    assert len(found) == 2
    assert hang_watch.clients([TABLE], 8001) == frozenset()


def test_processes_are_those_of_the_engine_alone() -> None:
    child = subprocess.Popen(["sh", "-c", "sleep 60 & wait"])
    try:
        family: list[Any] = []

        def both() -> bool:
            family[:] = load_program("last_state").processes(Path("/proc"), child.pid)
            return {each.name for each in family} == {"sh", "sleep"}

        eventually(both)
        assert all(each.number != os.getpid() for each in family)
    finally:
        for each in family:
            os.kill(each.number, signal.SIGKILL)
        child.wait()


class Answers:
    """An engine that says the same all the time, or nothing; and how often it was asked."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.asked: list[str] = []
        self.text: str | None = METRICS

    def request(self, _: str, path: str, *__: Any) -> tuple[int, str]:
        self.asked.append(path)
        if path != "/metrics":
            # one token is never answered
            threading.Event().wait(60)
        if self.text is None:
            raise TimeoutError
        return 200, self.text


@dataclass
class Rig:
    """A watch whose clock is moved, on a /proc of the test's."""

    watch: Any
    engine: Answers
    proc: Path
    now: float = 0.0

    def look(self, times: int = 1) -> list[str]:
        found = []
        for _ in range(times):
            self.now += self.watch.settings.interval
            found.append(str(self.watch.look()))
        return found

    def connect(self, table: str) -> None:
        (self.proc / "net" / "tcp").write_text(table)

    def start_process(self, number: int, name: str, parent: int) -> None:
        (self.proc / str(number)).mkdir()
        fields = ["S", str(parent), *["0"] * 9, "150", "50", *["0"] * 20]
        (self.proc / str(number) / "stat").write_text(f"{number} ({name}) {' '.join(fields)}")


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    (tmp_path / "net").mkdir()
    place = {"address": "127.0.0.1", "port": 8000, "path": "/v1/completions", "body": {}}
    settings = hang_watch.Settings(seconds=45, report="", **place)
    watch = hang_watch.Watch(settings, 7, tmp_path)
    watch.engine = Answers(settings)
    found = Rig(watch, watch.engine, tmp_path)
    monkeypatch.setattr(hang_watch, "time", SimpleNamespace(monotonic=lambda: found.now))
    found.connect("")
    found.start_process(7, "VLLM :) core", 1)
    return found


def test_an_engine_is_looked_at_only_while_somebody_is_connected(rig: Rig) -> None:
    assert set(rig.look(100)) == {"works"}
    # once, to know that it has started
    assert rig.engine.asked == ["/metrics"]
    rig.connect(TABLE)
    found = rig.look(10)
    assert found[-1] == "hangs"
    assert found[5] == "stands still"
    assert rig.engine.asked.count("/v1/completions") == 1
    said = rig.watch.why(hang_watch.Verdict.HANGS)
    assert said.startswith("nothing has moved for 45 s (45 s are allowed) while 2 clients wait")
    assert rig.watch.shown()["num_requests_running"] == 5


def test_what_moves_or_compiles_is_left_alone(rig: Rig) -> None:
    rig.connect(TABLE)
    rig.look()
    for tokens in range(30):
        rig.engine.text = f'vllm:generation_tokens_total{{engine="0"}} {tokens}'
        assert rig.look() == ["works"]
    rig.start_process(9, "ninja", 7)
    assert set(rig.look(30)) == {"works"}


@pytest.mark.parametrize(
    "compiler", ["ptxas-blackwell", "clang++", "clang-20", "ld.lld", "cc1plus"]
)
def test_compilers_are_known_by_how_their_names_begin(rig: Rig, compiler: str) -> None:
    """As /proc shows them, 15 characters at most."""
    rig.connect(TABLE)
    rig.start_process(9, compiler[:15], 7)
    assert set(rig.look(30)) == {"works"}


@pytest.mark.parametrize("other", ["VLLM::Worker_TP", "python3", "cl", "nv"])
def test_other_processes_are_no_compilers(rig: Rig, other: str) -> None:
    rig.connect(TABLE)
    rig.start_process(9, other, 7)
    assert rig.look(30)[-1] == "hangs"


def test_a_server_that_answers_nothing(rig: Rig) -> None:
    rig.look()
    rig.engine.text = None
    rig.connect(TABLE)
    found = rig.look(61)
    assert found[-1] == "answers nothing"
    assert rig.watch.why(hang_watch.Verdict.SILENT) == "its server has answered nothing for 300 s"


def test_an_engine_that_has_not_started_is_not_judged(rig: Rig) -> None:
    rig.engine.text = None
    rig.connect(TABLE)
    assert set(rig.look(200)) == {"works"}
