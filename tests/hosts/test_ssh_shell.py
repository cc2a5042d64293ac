"""Commands pass every login shell unchanged, and what its profile prints is dropped."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from deploy.errors import ConnectionFailedError
from deploy.hosts import ssh_config
from deploy.hosts.ssh import Client, open_ssh, transport_of
from deploy.hosts.ssh_shell import MARK, Output, frame, frame_merged
from deploy.live.connection import connect
from deploy.live.tunnel import open_command, open_port
from deploy.scripts import read_script
from deploy.spec import HostSpec
from tests.hosts.ssh_server import Server, serve, write_known_hosts
from tests.serving import QuietHandler, running

AWKWARD = "a'b\"c!d`id`$HOME\\n\\01\\c %d {x,y} ~ é\u20ac !! 'tab\t'1'\n'# ;"
PRINTING = "echo welcome; printf 'no end of line'; echo warned >&2; set -x;"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("HOME", str(tmp_path))
    ssh_config.read_endpoint.cache_clear()
    with serve() as server:
        write_known_hosts(tmp_path, server)
        yield server


@pytest.fixture
def ssh(server: Server) -> Iterator[Client]:
    with open_ssh(HostSpec(name="127.0.0.1", ssh_port=server.port, ssh_user="alice")) as client:
        yield client


@pytest.mark.parametrize(
    "shell", ["sh", "bash", "dash", "zsh", "ksh", "tcsh", "csh", "fish", "xonsh"]
)
def test_a_long_command_passes_a_shell_unchanged(shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    quoted = AWKWARD.replace("'", "'\\''")
    command = f"printf %s '{quoted * 300}'; cat; exit 7"
    ran = subprocess.run([shell, "-c", frame(command)], input=b"<in>", capture_output=True)
    assert ran.returncode == 7
    assert ran.stdout == MARK + (AWKWARD * 300).encode() + b"<in>"


def test_a_line_is_of_what_no_shell_changes() -> None:
    line = frame(AWKWARD * 300)
    assert not set("\n!\t") & set(line)
    assert line.isascii()
    words = line.split("'")[1::2]
    # xonsh reads words in single quotes as Python does, and puts variables in
    assert "\\" not in line
    assert "$" not in "".join(words[1:])
    assert max(map(len, words)) <= 1000


def test_nothing_succeeds_without_the_program_that_reads_it(tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to(str(shutil.which("sh")))
    command = frame("echo done")
    ran = subprocess.run(
        ["/bin/sh", "-c", command], env={"PATH": str(tmp_path)}, capture_output=True
    )
    assert (ran.returncode, ran.stdout) == (127, MARK)
    assert b"tr: not found" in ran.stderr


def test_what_a_profile_prints_is_dropped(server: Server, ssh: Client) -> None:
    server.shell = ("sh", "-c", f'{PRINTING} eval "$0"')
    stdin, stdout, stderr = ssh.exec_command("cat; echo out; echo err >&2; exit 3")
    stdin.write(b"in\n")
    stdin.channel.shutdown_write()
    assert stdout.read() == b"in\nout\n"
    assert stderr.read() == b"err\n"
    assert stdout.channel.recv_exit_status() == 3


def test_a_log_need_not_be_utf_8(server: Server) -> None:
    server.shell = ("sh", "-c", f'{PRINTING} eval "$0"')
    host = HostSpec(name="127.0.0.1", ssh_port=server.port, ssh_user="alice")
    with connect(host, needs_docker=False) as connection:
        lines = list(connection.stream(r"printf 'one\n\377\376 two\n'; echo three"))
    assert lines == [b"one\n", b"\xff\xfe two\n", b"three\n"]


def test_errors_among_the_output_in_their_order(server: Server, ssh: Client) -> None:
    server.shell = ("sh", "-c", f'{PRINTING} eval "$0"')
    channel = transport_of(ssh).open_session()
    channel.exec_command(frame_merged("echo 1; echo 2 >&2; echo 3"))
    assert Output(channel, "rb").read() == b"1\n2\n3\n"


def test_a_login_shell_that_runs_nothing_is_heard(server: Server, ssh: Client) -> None:
    server.shell = ("sh", "-c", "echo This account is not available.; exit 1")
    _, stdout, _ = ssh.exec_command("true")
    assert stdout.read() == b"This account is not available.\n"
    assert stdout.channel.recv_exit_status() == 1


def post(port: int, content: bytes) -> httpx.Response:
    return httpx.post(f"http://127.0.0.1:{port}", content=content, timeout=60)


@pytest.fixture
def service() -> Iterator[SimpleNamespace]:
    """A web server that closes after each answer."""
    from http.server import ThreadingHTTPServer

    asked: list[str] = []

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body[::-1])

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield SimpleNamespace(port=server.server_port, asked=asked)


@pytest.mark.parametrize("forwards", [True, False])
def test_a_port_is_reached_whether_or_not_ports_are_forwarded(
    forwards: bool, server: Server, ssh: Client, service: SimpleNamespace
) -> None:
    server.forwards = forwards
    server.shell = ("sh", "-c", f'{PRINTING} eval "$0"')
    with open_port(ssh, "127.0.0.1", service.port) as port:
        for text in (b"0123456789" * 100_000, b"again"):
            assert post(port, text).content == text[::-1]
    assert len(server.commands) == (0 if forwards else 2)


def test_many_ports_at_once_that_are_not_forwarded(
    ssh: Client, service: SimpleNamespace, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of several refusals at the same time, paramiko keeps the reason of one."""
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        ports = [stack.enter_context(open_port(ssh, "127.0.0.1", service.port)) for _ in range(8)]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        replies = list(pool.map(lambda url: httpx.post(url, content=b"abc", timeout=30), urls))
    assert [reply.content for reply in replies] == [b"cba"] * 8
    assert "Secsh" not in capfd.readouterr().err


def test_whoever_asks_may_go_away(
    ssh: Client, service: SimpleNamespace, capfd: pytest.CaptureFixture[str]
) -> None:
    """A connection that is reset, as of a client that has read enough, is no error to show."""
    with open_port(ssh, "127.0.0.1", service.port) as port:
        local = socket.create_connection(("127.0.0.1", port))
        local.sendall(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
        local.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        local.close()
        # it still serves others
        assert post(port, b"abc").content == b"cba"
    assert "tunnel.py" not in capfd.readouterr().err


@pytest.mark.parametrize("at", ["data", "end"])
def test_ssh_may_break_while_a_port_is_used(
    at: str, ssh: Client, service: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """paramiko raises EOFError where it writes to a connection that has just ended."""
    raised: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    transport = transport_of(ssh)
    before = _threads("answer")
    with open_port(ssh, "127.0.0.1", service.port) as port:
        local = socket.create_connection(("127.0.0.1", port))
        local.sendall(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
        [answering] = _wait_for(lambda: set(_threads("answer")) - set(before))
        _wait_for(lambda: service.asked)
        written: list[object] = []

        def write(message: object) -> None:
            written.append(message)
            raise EOFError

        with monkeypatch.context() as broken:
            broken.setattr(transport, "_send_user_message", write)
            if at == "data":
                local.sendall(b"abc")
                _wait_for(lambda: written)
            local.close()
            answering.join(10)
    # the service is waiting for the rest
    transport.close()
    assert not answering.is_alive()
    assert written
    assert raised == []


def _threads(name: str) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if name in each.name]


def _wait_for(found: Callable[[], Collection[Any]]) -> Collection[Any]:
    """What it returns once that is something."""
    deadline = time.monotonic() + 10
    while not (now := found()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return now


@pytest.mark.parametrize("tool", ["python3", "bash", "socat", "nc"])
def test_with_whatever_the_host_has(
    tool: str, tmp_path: Path, server: Server, ssh: Client, service: SimpleNamespace
) -> None:
    found = shutil.which(tool)
    if not found:
        pytest.skip(f"{tool} is not installed")
    offer(tmp_path, server, tool)
    help_text = subprocess.run([found, "-h"], capture_output=True, text=True).stderr
    with open_port(ssh, "127.0.0.1", service.port) as port:
        if tool == "nc" and "OpenBSD" in help_text:
            assert post(port, b"abc").status_code == 502
            return
        assert post(port, b"abc").content == b"cba"


def offer(tmp_path: Path, server: Server, *tools: str) -> None:
    """A host that has these programs, and those that a script cannot do without."""
    (tmp_path / "bin").mkdir()
    for name in ("sh", "cat", "tr", *tools):
        found = sys.executable if name == "python3" else shutil.which(name)
        (tmp_path / "bin" / name).symlink_to(str(found))
    server.shell = ("env", f"PATH={tmp_path}/bin", "sh", "-c")


def test_a_host_with_nothing_that_reaches_a_port_says_what_to_do(
    tmp_path: Path, server: Server, ssh: Client
) -> None:
    offer(tmp_path, server)
    with open_port(ssh, "127.0.0.1", 9) as port:
        said = post(port, b"abc")
    assert said.status_code == 502
    assert "set AllowTcpForwarding local in /etc/ssh/sshd_config" in said.text


def test_a_port_that_nothing_listens_on(ssh: Client) -> None:
    with open_port(ssh, "127.0.0.1", 9) as port:
        said = post(port, b"abc")
    assert (said.status_code, "Connection refused" in said.text) == (502, True)


def test_a_command_that_fails_at_once_says_why(server: Server, ssh: Client) -> None:
    server.shell = ("sh", "-c", f'{PRINTING} eval "$0"')
    with open_command(ssh, "echo not allowed >&2; exit 1") as path:
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(transport=transport, timeout=60) as client:
            said = client.get("http://docker/version")
    assert (said.status_code, said.text.strip()) == (502, "not allowed")


def test_a_connection_that_breaks_says_so(ssh: Client) -> None:
    with open_command(ssh, "head -c 1 >/dev/null; exec sleep 5") as path:
        transport = httpx.HTTPTransport(uds=str(path))
        threading.Timer(0.5, transport_of(ssh).sock.shutdown, [socket.SHUT_RDWR]).start()
        with httpx.Client(transport=transport, timeout=60) as client:
            said = client.get("http://docker/version")
    assert said.status_code == 502
    assert said.text.startswith("the SSH connection broke: "), said.text


@pytest.mark.parametrize("sudo", [False, True])
def test_a_login_that_runs_no_commands_is_told(server: Server, sudo: bool) -> None:
    """Its shell is nologin, its password has expired, or a command of its own is forced on it."""
    server.shell = ("sh", "-c", "echo 'This account is currently not available.'; exit 1")
    host = HostSpec(name="127.0.0.1", ssh_port=server.port, ssh_user="alice", sudo=sudo)
    with pytest.raises(ConnectionFailedError) as failed, connect(host):
        pass
    said = "no command of this user runs there: This account is currently not available."
    assert said in str(failed.value)
    assert "what the user's login shell is" in str(failed.value)


def test_the_script_is_one_that_every_shell_passes_on() -> None:
    assert "'" + "\\" not in frame(read_script("reach.sh"))
