"""The scenario's host: create or destroy; what is needed to log in lies in Molecule's directory."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT))

from tests.e2e.hosts import USER, Host, remove_host, start_host  # noqa: E402
from tests.e2e.names import host_name  # noqa: E402

NAME = host_name(f"molecule-{os.environ['MOLECULE_SCENARIO_NAME']}")
FILES = ("key", "key.pub", "address", "ssh_config", "secrets.yaml", ".ssh", "people-keys")
SSH_CONFIG = """\
Host box
  HostName {address}
  User {user}
  IdentityFile {directory}/key
  UserKnownHostsFile {directory}/.ssh/known_hosts
"""


def create(directory: Path) -> None:
    """Start the host, and write down how to log in."""
    destroy(directory)
    host = start_host(NAME, directory)
    (directory / "address").write_text(host.address)
    _know(host, directory)
    text = SSH_CONFIG.format(address=host.address, user=USER, directory=directory)
    (directory / "ssh_config").write_text(text)


def destroy(directory: Path) -> None:
    """Remove the host, and what was written down."""
    remove_host(NAME)
    for name in FILES:
        path = directory / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)


def _know(host: Host, directory: Path) -> None:
    (directory / ".ssh").mkdir()
    (directory / ".ssh" / "known_hosts").write_text(host.known_host())


if __name__ == "__main__":
    {"create": create, "destroy": destroy}[sys.argv[1]](
        Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
    )
