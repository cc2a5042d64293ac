"""What runs in Aristote's containers next to its own code, run as it is."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deploy.render import TEMPLATES
from tests.serving import QuietHandler, running

FOLDER = TEMPLATES / "aristote"
WANTED = {
    "name": "atelier",
    "organization": "lab",
    "priority": 3,
    "threshold": 10,
    "default_routing_mode": "any",
}
# what stands in for upstream's package `src` and for its table, kept in a file
USERS = """
import json, os, pathlib
STORE = pathlib.Path(os.environ["STORE"])
COLUMNS = ("token", "name", "organization", "email", "priority", "threshold", "client_type",
    "default_routing_mode")

class User:
    def __init__(self, **values):
        assert sorted(values) == sorted(COLUMNS), values
        self.__dict__.update(values)

class Session:
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def query(self, kind):
        assert kind is User
        return self
    def filter_by(self, name):
        self.rows = [User(**row) for row in json.loads(STORE.read_text())]
        self.found = [row for row in self.rows if row.name == name]
        return self
    def first(self): return self.found[0] if self.found else None
    def add(self, row): self.rows.append(row)
    def commit(self):
        if "BROKEN" in os.environ:
            raise RuntimeError("Key (token)=(%s) already exists" % self.rows[-1].token)
        STORE.write_text(json.dumps([row.__dict__ for row in self.rows]))

class Database:
    def __init__(self, settings): self.settings = settings
    def get_session(self): return Session()

class Settings: pass
"""


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"aristote_{name}", FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder with upstream's modules, and a table of users."""
    sender = tmp_path / "src" / "sender"
    sender.mkdir(parents=True)
    (sender / "db.py").write_text(USERS)
    (sender / "entities.py").write_text("from src.sender.db import User\n")
    (sender / "settings.py").write_text("from src.sender.db import Settings\n")
    rows = tmp_path / "rows.json"
    rows.write_text("[]")
    return rows


def account(store: Path, token: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(store.parent),
        "STORE": str(store),
        "ATELIER_ACCOUNT": json.dumps(WANTED),
        "ATELIER_MASTER_KEY": token,
        **more,
    }
    command = [sys.executable, str(FOLDER / "account.py")]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_the_account_is_made_once(store: Path) -> None:
    first = account(store, "sk-first")
    assert (first.returncode, first.stdout) == (0, "account atelier: written\n")
    written = store.read_text()
    assert json.loads(written) == [
        {**WANTED, "token": "sk-first", "email": None, "client_type": None}
    ]
    assert account(store, "sk-first").stdout == "account atelier: as it was\n"
    assert store.read_text() == written


def test_another_key_takes_the_place_of_the_one_before(store: Path) -> None:
    person = {**WANTED, "name": "ada", "token": "sk-ada", "email": "a@lab", "client_type": "chat"}
    store.write_text(json.dumps([person]))
    account(store, "sk-first")
    assert account(store, "sk-second").stdout == "account atelier: written\n"
    rows = {row["name"]: row for row in json.loads(store.read_text())}
    assert rows["ada"] == person
    assert rows["atelier"]["token"] == "sk-second"


def test_an_error_does_not_show_the_key(store: Path) -> None:
    failed = account(store, "sk-first", BROKEN="1")
    assert failed.returncode == 1
    assert failed.stderr == "the account atelier cannot be kept: RuntimeError\n"
    assert "sk-first" not in failed.stdout + failed.stderr


@dataclass
class Answers:
    """A server that answers as it is told."""

    status: int = 200
    body: Any = None
    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def serving() -> Iterator[Answers]:
    answers = Answers()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            answers.asked.append((self.path, self.headers.get("Authorization", "")))
            self.send_response(answers.status)
            self.end_headers()
            self.wfile.write(json.dumps(answers.body).encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    answers.port = server.server_address[1]
    with running(server):
        yield answers


@pytest.fixture
def answers() -> Iterator[Answers]:
    with serving() as found:
        yield found


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (200, {"consumers": 1}, 0, "queue a.b: 1 consumers\n"),
        (200, {"consumers": 0}, 1, "queue a.b: 0 consumers\n"),
        (200, {}, 1, "queue a.b: 0 consumers\n"),
        (404, {}, 1, "queue a.b: HTTP Error 404: Not Found\n"),
    ],
)
def test_a_consumer_is_healthy_where_rabbitmq_counts_it(
    answers: Answers, status: int, body: Any, code: int, said: str
) -> None:
    answers.status, answers.body = status, body
    environment = {
        "RABBITMQ_HOST": "127.0.0.1",
        "RABBITMQ_MANAGEMENT_PORT": str(answers.port),
        "RABBITMQ_USER": "aristote",
        "RABBITMQ_PASSWORD": "a-secret",
        "MODEL": "a.b",
        # it goes there itself
        "http_proxy": "http://127.0.0.1:1",
    }
    command = [sys.executable, str(FOLDER / "consumer_health.py")]
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (code, said)
    login = base64.b64encode(b"aristote:a-secret").decode()
    assert answers.asked == [("/api/queues/%2F/a.b", f"Basic {login}")]


def run_sender(answers: Answers, directory: Path, **more: Any) -> subprocess.Popen[str]:
    settings = {
        "directory": str(directory),
        "before": [],
        "command": [sys.executable, "-c", "import time; time.sleep(60)"],
        "url": f"http://127.0.0.1:{answers.port}/health/readiness",
        "seconds": 0.4,
        "interval": 0.05,
    }
    return subprocess.Popen(
        [sys.executable, str(FOLDER / "sender.py"), json.dumps(settings | more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"ATELIER_MASTER_KEY": "sk-first"},
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_sender_that_is_not_ready_any_more_is_ended(answers: Answers, tmp_path: Path) -> None:
    running = run_sender(answers, tmp_path)
    until(lambda: len(answers.asked) > 2)
    assert running.poll() is None
    answers.status = 503
    _, said = running.communicate(timeout=20)
    assert (running.returncode, said) == (75, "not ready for 0.4 s: the sender is started anew\n")


def test_one_that_has_never_been_ready_is_starting(answers: Answers, tmp_path: Path) -> None:
    answers.status = 503
    running = run_sender(answers, tmp_path, seconds=0.1)
    until(lambda: len(answers.asked) > 10)
    assert running.poll() is None
    running.terminate()
    running.communicate(timeout=20)


def test_a_short_while_without_rabbitmq_ends_nothing(answers: Answers, tmp_path: Path) -> None:
    running = run_sender(answers, tmp_path, seconds=30)
    until(lambda: len(answers.asked) > 2)
    answers.status = 503
    until(lambda: len(answers.asked) > 10)
    assert running.poll() is None
    running.terminate()
    running.communicate(timeout=20)


def test_it_ends_as_its_sender_does(answers: Answers, tmp_path: Path) -> None:
    running = run_sender(answers, tmp_path, command=[sys.executable, "-c", "raise SystemExit(3)"])
    running.communicate(timeout=20)
    assert running.returncode == 3


def test_a_signal_is_handed_on(answers: Answers, tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('finished'), sys.exit(0)))\n"
        "open('started', 'w').close()\n"
        "time.sleep(60)\n"
    )
    running = run_sender(answers, tmp_path, command=[sys.executable, "-c", code])
    until((tmp_path / "started").exists)
    running.terminate()
    said, _ = running.communicate(timeout=20)
    assert (running.returncode, said) == (0, "finished\n")


def test_a_signal_ends_what_comes_before(answers: Answers, tmp_path: Path) -> None:
    """The first process of a container gets no signal that it does not wait for."""
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "open('started', 'w').close()\n"
        "time.sleep(60)\n"
    )
    never = [sys.executable, "-c", "open('never', 'w')"]
    running = run_sender(answers, tmp_path, before=[[sys.executable, "-c", code]], command=never)
    until((tmp_path / "started").exists)
    running.terminate()
    _, said = running.communicate(timeout=20)
    assert running.returncode == 1
    assert said.endswith("ended with 5\n")
    assert not (tmp_path / "never").exists()


def test_what_comes_before_must_succeed(answers: Answers, tmp_path: Path) -> None:
    before = [[sys.executable, "-c", "open('first', 'w')"], [sys.executable, "-c", "exit(7)"]]
    never = [sys.executable, "-c", "open('never', 'w')"]
    running = run_sender(answers, tmp_path, before=before, command=never)
    _, said = running.communicate(timeout=20)
    assert running.returncode == 1
    assert "ended with 7" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first"]


def test_only_what_comes_before_has_the_master_key(answers: Answers, tmp_path: Path) -> None:
    code = "import os; open({!r}, 'w').write(str('ATELIER_MASTER_KEY' in os.environ))"
    before = [[sys.executable, "-c", code.format("before")]]
    running = run_sender(
        answers, tmp_path, before=before, command=[sys.executable, "-c", code.format("sender")]
    )
    running.communicate(timeout=20)
    assert (tmp_path / "before").read_text() == "True"
    assert (tmp_path / "sender").read_text() == "False"


def test_one_that_answers_nothing_is_not_ready() -> None:
    module = load("sender")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    settings = module.Settings(".", [], [], f"http://127.0.0.1:{port}/", 60)
    watch = module.Watch(settings)
    assert not watch.hangs(0)
    watch.last = 0
    assert not watch.hangs(60)
    assert watch.hangs(61)


def test_an_answer_that_is_none_of_http_is_not_ready() -> None:
    module = load("sender")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"none of it\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        watch = module.Watch(module.Settings(".", [], [], url, 60))
        watch.last = 0
        assert watch.hangs(61)


SERVER = """
import importlib, json, sqlalchemy
def run(app, **settings):
    module, _, name = app.partition(":")
    getattr(importlib.import_module(module), name)
    print(json.dumps({"app": app, "settings": settings, "engine": sqlalchemy.made}))
"""
ENGINE = """
made = {}
def create_engine(url, **settings): made[url] = settings
"""


def test_errors_of_the_database_show_no_token(tmp_path: Path) -> None:
    """SQLAlchemy and uvicorn are stood in for; upstream's module makes its engine as here."""
    sender = tmp_path / "src" / "sender"
    sender.mkdir(parents=True)
    (tmp_path / "sqlalchemy.py").write_text(ENGINE)
    (tmp_path / "uvicorn.py").write_text(SERVER)
    (sender / "main.py").write_text(
        "from sqlalchemy import create_engine\napp = create_engine('db', echo=False)\n"
    )
    command = [sys.executable, str(FOLDER / "serve.py"), "8080"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(said.stdout) == {
        "app": "src.sender.main:app",
        # addresses of requests, into which clients put keys, are not logged
        "settings": {"host": "0.0.0.0", "port": 8080, "access_log": False, "workers": 1},  # noqa: S104
        "engine": {"db": {"echo": False, "hide_parameters": True, "pool_pre_ping": True}},
    }
