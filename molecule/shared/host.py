"""The hosts of a scenario: create or destroy; what logs in to them lies in Molecule's directory.

A scenario has one, called box, or those that its file ``hosts`` names.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from tests.e2e.hosts import USER, Host, remove_host, start_host  # noqa: E402
from tests.e2e.names import host_name  # noqa: E402

SCENARIO = os.environ["MOLECULE_SCENARIO_NAME"]
NAMED = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "hosts"
HOSTS = NAMED.read_text().split() if NAMED.exists() else ["box"]
FILES = (*HOSTS, "ssh_config", "testinfra_hosts", "secrets.yaml", ".ssh", "people-keys")
SSH_CONFIG = """\
Host {name}
  HostName {address}
  User {user}
  IdentityFile {directory}/{name}/key
  UserKnownHostsFile {directory}/.ssh/known_hosts
"""


def create(directory: Path) -> None:
    """Start the hosts, and write down how to log in."""
    destroy(directory)
    hosts = {name: _start(name, directory / name) for name in HOSTS}
    (directory / ".ssh").mkdir()
    known = "".join(host.known_host() for host in hosts.values())
    (directory / ".ssh/known_hosts").write_text(known)
    entries = [
        SSH_CONFIG.format(name=name, address=host.address, user=USER, directory=directory)
        for name, host in hosts.items()
    ]
    (directory / "ssh_config").write_text("\n".join(entries))
    (directory / "testinfra_hosts").write_text(",".join(f"ssh://{name}" for name in hosts))


def destroy(directory: Path) -> None:
    """Remove the hosts, and what was written down."""
    for name in HOSTS:
        remove_host(_container(name))
    for name in FILES:
        path = directory / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)


def _start(name: str, place: Path) -> Host:
    place.mkdir()
    host = start_host(_container(name), place)
    (place / "address").write_text(host.address)
    return host


def _container(name: str) -> str:
    return host_name(f"molecule-{SCENARIO}-{name}")


if __name__ == "__main__":
    {"create": create, "destroy": destroy}[sys.argv[1]](
        Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
    )
