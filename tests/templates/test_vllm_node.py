"""What runs vLLM on one of several hosts, run as it is between addresses of this machine."""

from __future__ import annotations

import importlib.util
import itertools
import socket
import sys
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from deploy.render import TEMPLATES

FIRST, SECOND, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"
SLEEP = (sys.executable, "-c", "import time; time.sleep(30)")
LOOKS = 4
TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0B00000A:733D 0C00000A:A4D2 01 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0B00000A:733D 0D00000A:A4D2 06 00000000:00000000 00:00000000 00000000     0        0 1 1
   2: 0000000000000000FFFF00000B00000A:733D 0000000000000000FFFF00000C00000A:A4D3 01 0:0 0 0 0 1
"""


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("node", TEMPLATES / "vllm" / "node.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SECONDS", 0.05)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "declared0")
    monkeypatch.delenv("NCCL_SOCKET_IFNAME", raising=False)
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    return module


@pytest.fixture
def meeting() -> Iterator[socket.socket]:
    """What the first host listens on."""
    with socket.create_server((FIRST, 0)) as listening:
        yield listening


def joined(meeting: socket.socket, source: str) -> tuple[socket.socket, socket.socket]:
    """Both ends of the connection of another host."""
    one = socket.create_connection(meeting.getsockname(), source_address=(source, 0))
    other, _ = meeting.accept()
    return one, other


def arguments(
    meeting: socket.socket, nodes: int, rank: int, command: tuple[str, ...] = SLEEP
) -> list[str]:
    port = meeting.getsockname()[1]
    return [FIRST if rank == 0 else SECOND, FIRST, str(port), str(nodes), str(rank), *command]


def close_when_seen(node: ModuleType, *ends: socket.socket) -> None:
    """Close them once the program has looked at them several times, however busy it is here."""
    look, looks = node._now, itertools.count(1)

    def look_and_close() -> Any:
        found = look()
        if next(looks) == LOOKS:
            close(*ends)
        return found

    vars(node)["_now"] = look_and_close


def close(*ends: socket.socket) -> None:
    for end in ends:
        end.close()


def test_what_the_kernel_says(node: ModuleType) -> None:
    found = list(node.connections(TABLE))
    assert found[0] == (("10.0.0.11", 29501), ("10.0.0.12", 42194))
    # the second one is not established, the third one over IPv6 with an address of IPv4 in it
    assert len(found) == 2
    assert found[1][1] == ("10.0.0.12", 42195)
    master = ("10.0.0.11", 29501)
    assert node.peers(found, master, "10.0.0.11", 0) == {"10.0.0.12": set(found)}
    mirrored = [(remote, local) for local, remote in found]
    assert node.peers(mirrored, master, "10.0.0.12", 1) == {"10.0.0.11": set(mirrored)}
    assert node.peers([], master, "10.0.0.12", 1) == {}


@pytest.mark.parametrize(
    ("looks", "left_at"),
    [
        # each letter is a connection of one other host
        (["", "a", "ab", "b", "bc", "c", "c"], None),
        (["a", "a", "b", "b", "b"], 3),
        (["a", "ab", "b", "c", "c"], 4),
        (["a", "a", "", "", "b"], 3),
        (["a", "a", "", "a", "", "a"], None),
        (["a", "b", "c", "d", "d", "", ""], 6),
    ],
)
def test_one_that_is_back_at_once_was_away(
    node: ModuleType, looks: list[str], left_at: int | None
) -> None:
    company = node.Company(1)
    left = [company.has_left({"other": set(look)} if look else {}) for look in looks]
    assert left == [position == left_at for position in range(len(looks))]


def test_it_ends_as_its_command_does(node: ModuleType, meeting: socket.socket) -> None:
    done = (sys.executable, "-c", "raise SystemExit(3)")
    assert node.main(arguments(meeting, 2, 0, done)) == 3


def test_alone_it_waits_for_the_others(node: ModuleType, meeting: socket.socket) -> None:
    briefly = (sys.executable, "-c", "import time; time.sleep(0.6)")
    assert node.main(arguments(meeting, 2, 0, briefly)) == 0


@pytest.mark.parametrize("rank", [0, 1])
def test_it_ends_when_the_other_one_is_gone(
    node: ModuleType, meeting: socket.socket, rank: int
) -> None:
    close_when_seen(node, *joined(meeting, SECOND))
    begun = time.monotonic()
    assert node.main(arguments(meeting, 2, rank)) == 1
    assert time.monotonic() - begun < 20


def test_one_of_two_others_is_gone(node: ModuleType, meeting: socket.socket) -> None:
    stays = joined(meeting, SECOND)
    close_when_seen(node, *joined(meeting, THIRD))
    assert node.main(arguments(meeting, 3, 0)) == 1
    close(*stays)


def test_it_stays_while_the_others_do(node: ModuleType, meeting: socket.socket) -> None:
    ends = joined(meeting, SECOND)
    briefly = (sys.executable, "-c", "import time; time.sleep(0.8)")
    assert node.main(arguments(meeting, 2, 0, briefly)) == 0
    close(*ends)


def test_libraries_take_the_interface_of_the_address(
    node: ModuleType, meeting: socket.socket, capfd: pytest.CaptureFixture[str]
) -> None:
    said = "import os; print(os.environ['GLOO_SOCKET_IFNAME'], os.environ['NCCL_SOCKET_IFNAME'])"
    given = arguments(meeting, 2, 0, (sys.executable, "-c", said))
    assert node.main(["127.0.0.1", *given[1:]]) == 0
    assert capfd.readouterr().out.split() == ["declared0", "lo"]
    assert node.interface_of("203.0.113.1") is None
