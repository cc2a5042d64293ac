"""What has the entry's ports, and how HAProxy gets them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploy.services import Tier, Unit
from deploy.services.haproxy_watch import HEARS
from tests.conftest import MakeArtefacts
from tests.services.test_haproxy import ANYWHERE, entry, rules, sections


def only(make: MakeArtefacts, **settings: object) -> Unit:
    [unit] = make(entry=settings).stack.tier(Tier.LISTENER)
    return unit


def test_it_has_the_ports_and_starts_before_the_entry(make: MakeArtefacts) -> None:
    made = make(entry={})
    [unit] = made.stack.tier(Tier.LISTENER)
    assert unit.name == "demo-listener-0"
    ports = {(port.host_ip, port.host_port, port.container_port) for port in unit.container.ports}
    assert ports == {(ANYWHERE, 443, 8443), (ANYWHERE, 80, 8080)}
    assert made.stack.tiers()[-2:] == (Tier.LISTENER, Tier.ENTRY)
    found = sections(entry(made))
    binds = [rules(found[f"frontend {name}"], "bind")[0][0] for name in ("people", "plain")]
    assert binds == [":8443", ":8080"]
    # by-group, the default, opens sockets of its own for threads beyond the 64th
    shards = rules(found["global"], "tune.listener.default-shards")
    assert shards == [["by-process"]]


def test_it_is_on_the_entrys_host_and_nothing_is_declared_without_one(make: MakeArtefacts) -> None:
    hosts = [
        {"name": "a.lab.example", "address": "10.0.0.1"},
        {"name": "b.lab.example", "address": "10.0.0.2"},
    ]
    router = {"host": "a.lab.example", "listen": "10.0.0.1"}
    made = make(hosts=hosts, router=router, web_ui=None, entry={"host": "b.lab.example"})
    [unit] = made.stack.tier(Tier.LISTENER)
    assert unit.host == "b.lab.example"
    assert make().stack.tier(Tier.LISTENER) == ()


def test_it_has_no_rights(make: MakeArtefacts) -> None:
    container = only(make).container
    assert (container.user, container.read_only) == ("0:0", True)
    assert (container.cap_drop, container.cap_add) == (("ALL",), ())


def test_both_share_the_socket_that_only_one_makes(make: MakeArtefacts) -> None:
    made = make(entry={})
    [unit] = made.stack.tier(Tier.LISTENER)
    own, haproxy = unit.container, entry(made).container
    [(target, mount)] = own.mounts.items()
    assert haproxy.mounts[target] == mount.model_copy(update={"read_only": True})
    socket = own.command[2]
    assert socket.startswith(f"{target}/")
    assert haproxy.command[-1] == socket


def test_another_image_or_limit_of_haproxy_does_not_change_it(make: MakeArtefacts) -> None:
    before = only(make).container
    assert "image" not in before.public(str)
    images = {
        "python": {"source": "pull", "reference": "lab/python:9"},
        "haproxy": {"source": "pull", "reference": "lab/haproxy:9"},
    }
    made = make(entry={"memory_limit": "1GiB"}, images=images)
    [after] = made.stack.tier(Tier.LISTENER)
    assert after.container.image == "lab/python:9"
    assert after.container.public(str) == before.public(str)
    assert only(make, https_port=8443).container.public(str) != before.public(str)


HEADER = "  sl  local_address rem_address   st\n"
DOCKERS_NAMES = "   0: 0B00007F:8375 00000000:0000 0A 00000000:00000000\n"
OF_ITSELF = "   1: 0100007F:20D4 00000000:0000 0A 00000000:00000000\n"
AN_ANSWER = "   2: 00000000:20FB 0100000A:D431 01 00000000:00000000\n"
FOR_ALL = "   3: 00000000:20FB 00000000:0000 0A 00000000:00000000\n"


@pytest.mark.parametrize(
    ("lines", "hears"),
    [(DOCKERS_NAMES + OF_ITSELF + AN_ANSWER, True), (DOCKERS_NAMES + FOR_ALL + OF_ITSELF, False)],
)
def test_haproxy_that_listens_itself_is_not_healthy(
    make: MakeArtefacts, tmp_path: Path, lines: str, hears: bool
) -> None:
    unit = entry(make(entry={}))
    assert unit.container.healthcheck.command.endswith(f"&& {HEARS}")
    [watch] = [part for part in unit.container.command if "haproxy.cfg" in part]
    assert HEARS.removeprefix("! ") in watch
    (tmp_path / "tcp").write_text(HEADER + lines)
    command = HEARS.replace("/proc/net/tcp", str(tmp_path / "tcp"))
    assert (subprocess.run(["sh", "-c", command]).returncode == 0) == hears
