"""drain.sh and engine_keys.sh: with a made-up Docker, whose HAProxy is a file."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.scripts import read_script

DOCKER = """#!/bin/sh
# state: entry, health, sockets, backend, servers (a name, sessions and a status each), later,
# asked, log
cd "$FAKE"
echo "docker $*" >>log
said() { echo "$*" | grep -o 'set server.*' >>asked; }
show() {
  case "$*" in *"show stat $(cat backend) "*) ;; *) return ;; esac
  while read -r name sessions status; do
    echo "$(cat backend),$name,0,0,$sessions,0,0,0,0,0,0,0,0,0,0,0,0,$status,1"
  done <servers
  if [ -f later ]; then mv later servers; fi
}
drain() {
  sed 's/^r0 .*/r0 0 DRAIN/' servers >later
  sed -i 's/^r0 .*/r0 1 DRAIN/' servers
}
case "$*" in
  "container inspect"*Running*) cat entry ;;
  "container inspect"*) cat health ;;
  *"cat /proc/net/tcp"*) cat sockets; sed -i 1d sockets ;;
  *"show stat"*) show "$*" ;;
  *"state drain"*) said "$*"; drain ;;
  *"state ready"*) said "$*"; sed -i 's/DRAIN/UP/' servers ;;
esac
"""
CLOCK = """#!/bin/sh
now=$(($(cat "$FAKE/now") + 20))
echo $now >"$FAKE/now"
echo $now
"""
TCP = "   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 65534 0 1"
PORT, LOOPBACK, ROUTER = "0100007F:1F90", "0100007F:D000", "030012AC:D000"
MAPPED = "0000000000000000FFFF0000{}"


@dataclass
class Host:
    directory: Path

    def __post_init__(self) -> None:
        (self.directory / "docker").write_text(DOCKER)
        (self.directory / "docker").chmod(0o755)
        (self.directory / "sleep").write_text("#!/bin/sh\nexec /bin/sleep 0.02\n")
        (self.directory / "sleep").chmod(0o755)
        for name, text in {"entry": "true", "health": "healthy", "log": "", "asked": ""}.items():
            self.write(name, text)
        self.write("backend", "router")
        self.write("servers", "r0 1 UP\nr1 0 UP\n")
        self.write("sockets", "")

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    def read(self, name: str) -> str:
        return (self.directory / name).read_text()

    def hurry(self) -> None:
        """Let the clock of the script run fast: half a minute is over at once."""
        self.write("date", CLOCK)
        self.write("now", "1000")
        (self.directory / "date").chmod(0o755)

    @property
    def marker(self) -> Path:
        return self.directory / "live" / "haproxy" / "draining" / "demo-litellm-0"

    def run(self, script: str, *arguments: str, stdin: str = "") -> None:
        path = f"{self.directory}:{os.environ['PATH']}"
        subprocess.run(
            ["sh", "-c", read_script(script), "atelier", *arguments],
            env={"PATH": path, "FAKE": str(self.directory)},
            input=stdin,
            text=True,
            check=True,
            timeout=60,
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def away(host: Host, *entry_and_names: str, wait: int = 5) -> None:
    host.run("drain.sh", "away", str(host.marker), "600", str(wait), *entry_and_names)


def test_the_entry_is_told_and_waited_for(host: Host) -> None:
    away(host, "demo-haproxy-0", "router/r0")
    assert host.read("asked") == "set server router/r0 state drain\n"
    until, name = host.marker.read_text().split()
    assert name == "router/r0"
    assert 500 < float(until) - time.time() < 700
    assert host.read("servers") == "r0 0 DRAIN\nr1 0 UP\n"

    host.run("drain.sh", "back", str(host.marker), "demo-haproxy-0")
    assert host.read("asked").splitlines()[-1] == "set server router/r0 state ready"
    assert not host.marker.exists()


def test_a_server_is_found_where_the_running_entry_has_it(host: Host) -> None:
    """A LiteLLM that gets an Aristote in front of it completes; the entry is told that later."""
    away(host, "demo-haproxy-0", "completions/r0", "router/r0")
    assert host.read("asked") == "set server router/r0 state drain\n"
    assert host.marker.read_text().split()[1:] == ["router/r0"]
    host.run("drain.sh", "back", str(host.marker), "demo-haproxy-0")
    assert host.read("asked").splitlines()[-1] == "set server router/r0 state ready"

    host.write("backend", "completions")
    away(host, "demo-haproxy-0", "completions/r0", "router/r0")
    assert host.read("asked").splitlines()[-1] == "set server completions/r0 state drain"


def test_one_that_the_entry_does_not_know_is_not_drained(host: Host) -> None:
    host.hurry()
    away(host, "demo-haproxy-0", "completions/new")
    assert "state drain" not in host.read("asked")


def test_an_entry_that_does_not_run_is_not_told(host: Host) -> None:
    host.write("entry", "false")
    away(host, "demo-haproxy-0", "router/r0")
    assert host.read("asked") == ""
    assert not host.marker.exists()


def test_the_last_server_is_not_taken_away(host: Host) -> None:
    host.write("servers", "r0 1 UP\nr1 0 DOWN\n")
    host.hurry()
    away(host, "demo-haproxy-0", "router/r0")
    assert host.read("asked") == ""
    assert not host.marker.exists()


def test_routers_read_who_is_away(host: Host) -> None:
    away(host, "-", "engine-0", "engine-0-adapter")
    assert not host.marker.exists(), "no router reads it"
    host.marker.parent.parent.mkdir(parents=True)
    away(host, "-", "engine-0", "engine-0-adapter")
    assert host.marker.read_text().split()[1:] == ["engine-0", "engine-0-adapter"]
    assert stat.S_IMODE(host.marker.stat().st_mode) & 0o044
    host.run("drain.sh", "back", str(host.marker), "-")
    assert not host.marker.exists()
    host.run("drain.sh", "back", str(host.marker), "-")


def quiet(host: Host, wait: int = 20) -> int:
    """How often it looked at the connections."""
    host.run("drain.sh", "quiet", "engine-0", "8080", str(wait))
    return host.read("log").count("docker exec")


def row(remote: str, state: str = "01", local: str = PORT) -> str:
    return TCP.format(local=local, remote=remote, state=state) + "\n"


@pytest.mark.parametrize(
    ("sockets", "looks"),
    [
        ("", 1),
        (row(LOOPBACK), 1),
        (row("00000000:0000", "0A"), 1),
        (row(ROUTER, "06"), 1),
        (row(ROUTER, local="0100007F:1F91"), 1),
        (row(MAPPED.format(LOOPBACK), local=MAPPED.format(PORT)), 1),
        (row(ROUTER), 2),
        (row(ROUTER) + row(ROUTER), 3),
        (row(MAPPED.format(ROUTER), local=MAPPED.format(PORT)), 2),
    ],
)
def test_connections_from_outside_are_waited_for(host: Host, sockets: str, looks: int) -> None:
    """Each look takes one of them away."""
    host.write("sockets", sockets)
    assert quiet(host) == looks


def test_a_container_that_is_not_healthy_is_not_waited_for(host: Host) -> None:
    host.write("health", "unhealthy")
    host.write("sockets", row(ROUTER))
    assert quiet(host) == 0


def keys(host: Host, action: str, key: str) -> list[str]:
    file = host.directory / "live" / "litellm" / "engine_keys"
    host.run("engine_keys.sh", action, str(file), stdin=f"{key}\n")
    assert stat.S_IMODE(file.parent.parent.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file.parent, file)] == [0o755, 0o644]
    return file.read_text().splitlines()


def test_a_new_key_comes_before_those_that_engines_may_still_have(host: Host) -> None:
    assert keys(host, "first", "one") == ["one"]
    assert keys(host, "first", "two") == ["two", "one"]
    assert keys(host, "first", "two") == ["two", "one"]
    assert keys(host, "first", "three") == ["three", "two", "one"]
    assert keys(host, "first", "one") == ["one", "three", "two"]
    assert keys(host, "only", "one") == ["one"]
