"""One look at a host: asked once, valid until something changes."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api import FactBase
from pyinfra.context import ctx_host, ctx_state

from deploy.facts import host as facts
from deploy.facts import look
from deploy.facts.docker import Docker
from deploy.facts.engine import Resources
from deploy.facts.files import Contents, PathStates
from deploy.facts.images import Images
from deploy.facts.look import Look, Question
from deploy.facts.units import Units


class Word(FactBase[str]):
    """A word that the host says."""

    def command(self, word: str) -> str:
        return f"echo {word}"

    @staticmethod
    def default() -> str:
        return "nothing"

    def process(self, output: list[str]) -> str:
        return " ".join(output)


class Host:
    """Runs what facts ask for in a shell of this machine."""

    name = "h1"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_fact(self, fact: type[FactBase[Any]], **arguments: Any) -> Any:
        command = str(fact().command(**arguments))
        self.asked.append(command)
        result = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
        assert result.returncode == 0, result.stdout
        return fact().process(result.stdout.splitlines())


@pytest.fixture
def host() -> Any:
    """The current host, on which two questions are expected."""
    host, state = Host(), SimpleNamespace(is_executing=False)
    with ctx_state.use(state), ctx_host.use(host):
        look.will_ask([Question.of(Word, word="one"), Question.of(Word, word="two")])
        host.state = state  # type: ignore[attr-defined]
        yield host
        look.will_ask([])


def test_all_questions_are_asked_in_one_command(host: Host) -> None:
    assert (look.ask(Word, word="one"), look.ask(Word, word="two")) == ("one", "two")
    assert len(host.asked) == 1


def test_what_was_seen_holds_until_something_changes(host: Host) -> None:
    look.ask(Word, word="one")
    look.forget()
    look.ask(Word, word="two")
    assert len(host.asked) == 2


def test_what_was_seen_is_told_while_it_holds(host: Any) -> None:
    assert look.seen("h1", Word) is None
    look.ask(Word, word="two")
    assert look.seen("h1", Word) == "one"
    assert look.seen("h2", Word) is None
    host.state.is_executing = True
    assert look.seen("h1", Word) is None
    look.ask(Word, word="two")
    look.forget()
    assert look.seen("h1", Word) is None


def test_a_run_looks_again_at_what_its_dry_run_saw(host: Any) -> None:
    look.ask(Word, word="one")
    host.state.is_executing = True
    look.ask(Word, word="one")
    look.ask(Word, word="two")
    assert len(host.asked) == 2


def test_when_a_clock_was_read(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look takes its time, and may be long ago when it is judged: other hosts answer later."""
    times = iter([1000.0, 1090.0])
    monkeypatch.setattr("deploy.facts.look.time.time", lambda: next(times, 1300.0))
    assert look.moment_of(1.0) == 1000.0
    times = iter([1000.0, 1090.0])
    look.ask(Word, word="one")
    clocks = (940.0, 1000.0, 1045.5, 1090.0, 1150.0)
    assert [clock - look.moment_of(clock) for clock in clocks] == [-60, 0, 0, 0, 60]
    look.forget()
    assert look.moment_of(1045.5) == look.moment_of(None) == 1300.0


def test_a_question_that_was_not_expected_is_asked_alone(host: Host) -> None:
    assert look.ask(Word, word="three") == "three"
    assert host.asked == ["echo three"]


def test_a_question_without_an_answer_has_its_default(host: Host) -> None:
    look.will_ask([Question.of(Word, word="one; exit 0"), Question.of(Word, word=">/dev/null")])
    assert look.ask(Word, word="one; exit 0") == "one"
    assert look.ask(Word, word=">/dev/null") == "nothing"


def test_a_question_that_fails_fails_the_whole_look() -> None:
    """Else what cannot be read would look like what is not there."""
    command = Look().command(("echo fine", "exit 3", "echo never"))
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert result.returncode == 1
    assert "never" not in result.stdout


def test_a_look_is_printed_at_once_with_its_blank_lines() -> None:
    """Each write becomes a packet; a file without text has a blank line, the last one of all."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    command = Look().command(("echo one; sleep 0.1; echo two", "echo; echo three; echo", "exit 0"))
    with ours, theirs:
        subprocess.run(["sh", "-c", command], stdout=theirs.fileno(), check=True)
        said = ours.recv(65536).decode()
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1)
    answers = Look().process(said.splitlines())
    assert [answers[n] for n in range(3)] == [["one", "two"], ["", "three", ""], []]


def test_an_empty_file_is_the_last_answer(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    question = Question.of(Contents, paths=[f"{tmp_path}/empty"])
    said = subprocess.run(
        ["sh", "-c", Look().command((question.shell,))], capture_output=True, text=True, check=True
    )
    assert question.parse(Look().process(said.stdout.splitlines())[0]) == {f"{tmp_path}/empty": ""}


COUNTED = """#!/bin/sh
echo {tool} >>{log}
exec /usr/bin/{tool} "$@"
"""
TOOLS = ("awk", "base64", "cat", "cut", "date", "df", "find", "grep", "head", "id", "sed", "stat")


def test_a_host_without_docker_starts_few_programs(tmp_path: Path) -> None:
    """Each takes a host a millisecond or two, and there were 53 of them."""
    for tool in (*TOOLS, "tail", "tr", "uname"):
        (tmp_path / tool).write_text(COUNTED.format(tool=tool, log=tmp_path / "log"))
        (tmp_path / tool).chmod(0o755)
    questions = [
        Question.of(facts.Host, deployment="demo", directory=str(tmp_path)),
        Question.of(PathStates, paths=[str(tmp_path / "log")]),
        Question.of(Contents, paths=[str(tmp_path / "none")]),
    ]
    command = Look().command(tuple(question.shell for question in questions))
    subprocess.run(
        ["/bin/sh", "-c", command], env={"PATH": str(tmp_path)}, capture_output=True, check=True
    )
    started = sorted((tmp_path / "log").read_text().split())
    assert started == [
        *("awk", "awk", "awk", "awk", "cat", "date", "df", "grep", "id", "stat", "stat", "uname")
    ]


DOCKER = """#!/bin/sh
echo "$1 $2" >>"$(dirname "$0")/asked"
case "$1 $2" in
info*) echo 'info 28.0|/var/lib/docker|{"version":"28.0","root":"/var/lib/docker"}' ;;
"network ls") echo "network demo demo" ;;
"volume ls") echo "volume other " ;;
"image ls") echo "image lab/engine:1 lab/engine@<none> sha256:aa" ;;
"container ls") printf 'row %s\\n' "demo-litellm-0 demo litellm" "other-litellm-0 other litellm" ;;
"container inspect")
  shift 4
  for name; do
    case $name in demo*) of=demo ;; other*) of=other ;; *) continue ;; esac
    echo "ports $of {\\"1/tcp\\":[{\\"HostPort\\":\\"${#of}000\\"}]}"
    echo "holds $of {\\"gpus\\":{},\\"ports\\":[2950${#of}]}"
    echo "container $of {\\"Name\\":\\"/$name\\",$MORE}"
  done ;;
*) exit 1 ;;
esac
"""
MORE = (
    '"Image":"sha256:aa","State":{"Status":"running","StartedAt":"0001"},'
    '"HostConfig":{"RestartPolicy":{"Name":"no"},"Memory":0},'
    '"NetworkSettings":{"Networks":{}},"Config":{"Labels":{}}'
)


def test_docker_is_asked_once_for_what_several_questions_need(tmp_path: Path) -> None:
    """A docker command takes 30 ms of a host: they were 17 of a look."""
    _install_docker(tmp_path, DOCKER)
    fingerprint = tmp_path / "deployments" / "demo" / "secrets.fingerprint"
    fingerprint.parent.mkdir(parents=True)
    fingerprint.write_text('{"fingerprint": "known"}')
    questions = [
        Question.of(facts.Host, deployment="demo", directory=str(tmp_path)),
        Question.of(Docker),
        Question.of(Images, record="/none", files=()),
        Question.of(Resources),
        Question.of(Units, deployment="demo", directory="/none", names=("demo-litellm-0",)),
    ]
    command = Look().command(tuple(question.shell for question in questions))
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "MORE": MORE}
    result = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = Look().process(result.stdout.splitlines())
    found = [question.parse(lines[position]) for position, question in enumerate(questions)]
    host, docker, images, resources, units = found
    assert (host.engine_version, docker.answers) == ("28.0", True)
    assert (host.own_ports, host.images) == ({4000, 29504}, {"lab/engine:1"})
    assert (host.daemon.has_network, host.daemon.volumes) == (True, {"other"})
    assert images.image_id("docker.io/lab/engine:1") == "sha256:aa"
    assert resources == {"network demo": "demo", "volume other": ""}
    assert list(units.containers) == ["demo-litellm-0"]
    assert sorted((tmp_path / "asked").read_text().splitlines()) == [
        *("container inspect", "container ls", "image ls"),
        *("info --format", "network ls", "volume ls"),
    ]


TOGETHER = """#!/bin/sh
[ "$1 $2" != "container inspect" ] || exit 0
echo "$1 $2" >>"$(dirname "$0")/asked"
until [ "$(wc -l <"$(dirname "$0")/asked")" -ge 5 ]; do sleep 0.01; done
case "$1 $2" in
info*) echo "info 28.0|/var/lib/docker|{}" ;;
"network ls") seq -f "network n%g" 20000 ;;
"volume ls") seq -f "volume v%g" 20000 ;;
esac
"""


def test_docker_is_asked_at_the_same_time_however_much_it_says(tmp_path: Path) -> None:
    """Each command here waits for the others; what they print does not fit into a pipe."""
    _install_docker(tmp_path, TOGETHER)
    result = _ask_for_resources(tmp_path)
    assert result.returncode == 0, result.stderr
    names = [
        *(f"network n{n}" for n in range(1, 20001)),
        *(f"volume v{n}" for n in range(1, 20001)),
    ]
    assert list(Resources().process(result.stdout.splitlines())) == names


def _failing(command: str) -> str:
    """A docker that cannot say something, in two lines."""
    fails = f'"{command}") printf "%s\\n" "a warning" "no such plugin" >&2; exit 1 ;;'
    return DOCKER.replace(" in\n", f" in\n{fails}\n", 1)


@pytest.mark.parametrize("command", ["network ls", "volume ls", "container ls"])
def test_what_docker_cannot_say_fails_the_look_with_its_reason(
    tmp_path: Path, command: str
) -> None:
    _install_docker(tmp_path, _failing(command))
    result = _ask_for_resources(tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "a warning\nno such plugin\n"


@pytest.mark.parametrize("command", ["image ls", "container inspect"])
def test_what_docker_need_not_say_does_not_fail_it(tmp_path: Path, command: str) -> None:
    _install_docker(tmp_path, _failing(command))
    result = _ask_for_resources(tmp_path)
    assert result.stdout.splitlines() == ["network demo demo", "volume other "]


PODMAN = """#!/bin/sh
# as podman 4.3.1: of a template that it does not know it prints the beginning
unknown() { printf '%s ' "$1"; echo "Error: template: can't evaluate field $2" >&2; exit 125; }
case "$1 $2" in
--version*) echo "podman version 4.3.1" ;;
version*) echo "Client:       Podman Engine" ;;
info*) unknown info .ServerVersion ;;
"network ls") unknown "network podman" .Label ;;
esac
"""


def test_podman_in_dockers_place_is_told(tmp_path: Path) -> None:
    """It does not know all that Docker is asked, which must not fail the look."""
    _install_docker(tmp_path, PODMAN)
    questions = [
        Question.of(facts.Host, deployment="demo", directory=str(tmp_path)),
        Question.of(Docker),
        Question.of(Resources),
    ]
    command = Look().command(tuple(question.shell for question in questions))
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    result = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = Look().process(result.stdout.splitlines())
    host, docker, resources = (q.parse(lines.get(n, [])) for n, q in enumerate(questions))
    assert (host.engine_version, host.engine_error) == (None, "the docker command is Podman's")
    assert (docker.is_podman, docker.answers, resources) == (True, False, {})


def _install_docker(directory: Path, text: str) -> None:
    (directory / "docker").write_text(text)
    (directory / "docker").chmod(0o755)


def _ask_for_resources(directory: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{directory}:/usr/bin:/bin", "MORE": MORE}
    command = Resources().command()
    return subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=60
    )
