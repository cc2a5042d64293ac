"""SSH servers on loopback addresses, each of them a host without Docker."""

from __future__ import annotations

import getpass
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.sshd_log import LOGIN, SESSION

SSHD = "/usr/sbin/sshd"
PORT = 2222
CONFIG = """
ListenAddress {address}:{port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/key.pub
LogLevel VERBOSE
MaxStartups 100
PidFile none
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
SetEnv PATH={directory}/bin HOME={directory}/hosts
"""


@dataclass(frozen=True)
class Fleet:
    """Running SSH servers; all of them log in the user who started them, with one key."""

    directory: Path
    addresses: tuple[str, ...]

    @property
    def user(self) -> str:
        """Who logs in."""
        return getpass.getuser()

    @property
    def key(self) -> Path:
        """The private key to log in with."""
        return self.directory / "key"

    def known_hosts(self, names: list[str]) -> str:
        """Lines of known_hosts for these names and ports, written as OpenSSH does."""
        kind, key, *_ = (self.directory / "host_key.pub").read_text().split()
        return "".join(f"{name} {kind} {key}\n" for name in names)

    def count(self) -> tuple[int, int]:
        """Connections and commands so far, on all servers together."""
        text = "".join(path.read_text() for path in self.directory.glob("*.log"))
        return text.count(LOGIN), text.count(SESSION)


@contextmanager
def run_fleet(directory: Path, hosts: int) -> Iterator[Fleet]:
    """Start servers on 127.0.1.1 and the addresses after it."""
    for name in ("host_key", "key"):
        path = str(directory / name)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    _link_programs(directory / "bin")
    fleet = Fleet(directory, tuple(f"127.0.1.{number + 1}" for number in range(hosts)))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with ExitStack() as stack:
        for address in fleet.addresses:
            server = stack.enter_context(_start(directory, address))
            stack.callback(server.terminate)
        time.sleep(1)
        yield fleet


def _link_programs(place: Path) -> None:
    """This machine's programs without its Docker: what a session there finds."""
    place.mkdir()
    for program in Path("/usr/bin").iterdir():
        if not program.name.startswith("docker"):
            (place / program.name).symlink_to(program)


def _start(directory: Path, address: str) -> subprocess.Popen[bytes]:
    config, log = directory / f"{address}.conf", directory / f"{address}.log"
    config.write_text(CONFIG.format(address=address, port=PORT, directory=directory))
    return subprocess.Popen([SSHD, "-D", "-f", str(config), "-E", str(log)])
