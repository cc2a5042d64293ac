"""A host that only ``ssh NAME`` knows, hardened, whose user has a shell that is not POSIX's.

Everything at once: the way there stands in a file that ~/.ssh/config includes, the key has a
passphrase and is the last of eight in an agent, the server forwards no ports, and every profile
prints.
"""

from __future__ import annotations

import copy
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.hosts import USER, Host
from tests.e2e.names import host_name
from tests.e2e.remote import containers_of, run_site
from tests.e2e.site import Settings, Site
from tests.processes import ssh_agent

NAME = host_name("ways")
PASSPHRASE = "sesame"
HARDEN = """
apt-get install -y -q --no-install-recommends tcsh fish >/dev/null
printf 'AllowTcpForwarding no\nMaxSessions 2\n' >/etc/ssh/sshd_config.d/hardened.conf
systemctl reload ssh
mkdir -p /home/alice/.config/fish
printf 'echo welcome\\necho -n @@0\\n' >/home/alice/.cshrc
cp /home/alice/.cshrc /home/alice/.config/fish/config.fish
printf 'echo welcome\\nprintf @@0\\n' >/home/alice/.bashrc
chown -R alice: /home/alice
"""


@dataclass
class Box:
    site: Site
    host: Host


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, pulled: Settings) -> Iterator[Box]:
    home = tmp_path_factory.mktemp("ways")
    with run_site(home, {"box": NAME}, pulled) as (site, hosts):
        host = hosts["box"]
        settings = copy.deepcopy(site.settings) | {"name": "e2e-ways"}
        (declared,) = settings["hosts"]
        for known_to_ssh in ("address", "ssh_user", "ssh_key"):
            declared.pop(known_to_ssh)
        site.write(settings)
        host.run(HARDEN)
        _configure(home, host)
        with _agent(home, host) as place:
            site.environment["SSH_AUTH_SOCK"] = str(place)
            yield Box(site, host)


def _configure(home: Path, host: Host) -> None:
    lines = ["Host box", f"HostName {host.address}", f"User {USER}", f"IdentityFile {host.key}"]
    (home / "more.conf").write_text("\n  ".join([*lines, "IdentitiesOnly yes"]) + "\n")
    (home / ".ssh/config").write_text(f"Include {home}/more.conf\n")
    command = ["ssh-keygen", "-q", "-p", "-N", PASSPHRASE, "-f", str(host.key)]
    subprocess.run(command, check=True)


@contextmanager
def _agent(home: Path, host: Host) -> Iterator[Path]:
    """An agent with seven other keys, and then the one that gets in."""
    place, askpass = home / "agent", home / "askpass"
    keys = [home / f"other{number}" for number in range(7)]
    for key in keys:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
        subprocess.run(command, check=True)
    askpass.write_text(f"#!/bin/sh\necho {PASSPHRASE}\n")
    askpass.chmod(0o700)
    more = {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}
    with ssh_agent(place):
        subprocess.run(
            ["ssh-add", "-q", *map(str, [*keys, host.key])],
            env=os.environ | more | {"SSH_AUTH_SOCK": str(place)},
            stdin=subprocess.DEVNULL,
            check=True,
        )
        yield place


def test_it_is_deployed_and_every_command_reaches_it(box: Box) -> None:
    box.host.run("chsh -s /usr/bin/tcsh alice")
    result = box.site.deploy()
    assert result.status == 0, result.output
    assert "Traceback" not in result.output
    assert {state for _, state, _ in containers_of(box.host).values()} == {"running"}
    for verb in ("verify", "status", "doctor"):
        said = box.site.atelier(verb)
        assert said.returncode == 0, said.stdout + said.stderr
        assert "Secsh" not in said.stdout + said.stderr


@pytest.mark.parametrize("shell", ["fish", "bash", "tcsh"])
def test_another_login_shell_changes_nothing(shell: str, box: Box) -> None:
    box.host.run(f"chsh -s $(command -v {shell}) alice")
    result = box.site.deploy()
    assert (result.status, result.changes) == (0, []), result.output
