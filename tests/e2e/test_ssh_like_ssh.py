"""Whatever ``ssh NAME`` reaches is reached, and what it refuses is refused: ssh itself is asked."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko
import pytest

from deploy.hosts import ssh_config
from deploy.hosts.ssh import open_ssh
from deploy.spec import HostSpec
from tests.e2e.hosts import USER, Host, run_host
from tests.e2e.names import host_name
from tests.processes import ssh_agent

CERTIFY = """
cat >/etc/ssh/hostkey-cert.pub && echo HostCertificate /etc/ssh/hostkey-cert.pub \
  >/etc/ssh/sshd_config.d/certificate.conf && systemctl restart ssh
"""
OWN = "HostName {address}\n  User alice\n  IdentityFile {home}/lab"
HOP = "Host hop\n  " + OWN
BEHIND = "HostName 127.0.0.1\n  HostKeyAlias {address}\n  User alice\n  IdentityFile {home}/lab"
WAYS = {
    "a name": "Host box\n  " + OWN,
    "Include": "Include {home}/included.conf",
    "Include in Include": "Include {home}/includes.conf",
    "Match": "Match originalhost box\n  " + OWN,
    "Match exec": 'Match host box exec "test -f {home}/lab"\n  ' + OWN,
    "Match exec that fails": "Match exec false\n  User nobody\nHost box\n  " + OWN,
    "Match final": (
        "Host box\n  HostName {address}\nMatch final host {address}\n"
        "  User alice\n  IdentityFile {home}/lab"
    ),
    "tokens": "Host box\n  HostName {address}\n  User alice\n  IdentityFile {home}/%r_at_%n",
    "quotes": 'Host box\n  HostName {address}\n  User alice\n  IdentityFile "{home}/a key"',
    "the first value counts": "Host box\n  ProxyJump none\n  "
    + OWN
    + "\nHost *\n  ProxyJump x.invalid",
    "ProxyCommand": "Host box\n  " + OWN + "\n  ProxyCommand bash -c '"
    "exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3; kill $!'",
    "ProxyCommand ssh": "Host box\n  " + BEHIND + "\n"
    "  ProxyCommand ssh -F {home}/.ssh/config -W [%h]:%p hop\n" + HOP,
    "ProxyJump": "Host box\n  " + BEHIND + "\n  ProxyJump hop\n" + HOP,
    "ProxyJump twice": "Host box\n  "
    + BEHIND
    + "\n  ProxyJump hop,second\n"
    + HOP
    + "\nHost second\n  "
    + BEHIND,
    "ProxyJump of a jump host": "Host box\n  "
    + BEHIND
    + "\n  ProxyJump second\n"
    + HOP
    + "\nHost second\n  ProxyJump hop\n  "
    + BEHIND,
    "ProxyJump with user and port": "Host box\n  " + BEHIND + "\n  ProxyJump alice@{address}:22\n"
    "Host *\n  IdentityFile {home}/lab",
    "several keys": "Host box\n  HostName {address}\n  User alice\n  IdentityFile {home}/other\n"
    "  IdentityFile {home}/lab",
    "a user that is not let in": "Host box\n  HostName {address}\n  User bob\n"
    "  IdentityFile {home}/lab",
    "no configuration that ssh accepts": "Host box\n  Nonsense yes\n  " + OWN,
}
"""What stands in ~/.ssh/config."""
KNOWN = {
    "nothing": "",
    "the key": "{address} {key}",
    "an RSA key alone": "{address} {rsa}",
    "a pattern": "172.* {key}",
    "all but it": "*,!{address} {key}",
    "another key": "{address} {other}",
    "another key, and the key": "{address} {other}\n{address} {key}",
    "what makes no sense, and the key": "x\ny z\nz ssh-rsa AAAA\n\xe4 ssh-dss A\n{address} {key}",
    "a revoked key": "{address} {key}\n@revoked * {key}",
    "an authority": "@cert-authority 172.* {authority}",
    "an authority for others, and the key": "@cert-authority *.corp {authority}\n{address} {key}",
    "another authority": "@cert-authority * {other}",
    "a revoked authority": "@cert-authority * {authority}\n@revoked * {authority}",
}
"""What stands in ~/.ssh/known_hosts."""
CHECKING = {
    "StrictHostKeyChecking no": ("", ""),
    "StrictHostKeyChecking accept-new": ("", ""),
    "HostKeyAlias lab": ("lab {key}", ""),
    "HostKeyAlias other": ("{address} {key}", ""),
    "UserKnownHostsFile {home}/more": ("", "{address} {key}"),
    "UserKnownHostsFile {home}/none {home}/more": ("", "{address} {key}"),
    "GlobalKnownHostsFile {home}/more": ("", "{address} {key}"),
    "KnownHostsCommand /bin/echo %H {key}": ("", ""),
}
"""Directives, with what stands in ~/.ssh/known_hosts and in another file."""


@dataclass
class Lab:
    """A home directory, and the host that it knows."""

    home: Path
    host: Host
    agent: Path | None = None

    @property
    def words(self) -> dict[str, str]:
        return {
            "home": str(self.home),
            "address": self.host.address,
            "key": _public(self.host.run("cat /etc/ssh/ssh_host_ed25519_key.pub")),
            "rsa": _public(self.host.run("cat /etc/ssh/ssh_host_rsa_key.pub")),
            "other": _public((self.home / "other.pub").read_text()),
            "authority": _public((self.home / "authority.pub").read_text()),
        }

    def write(self, config: str, known: str, more: str = "") -> None:
        words = self.words
        files = f"  UserKnownHostsFile {self.home}/.ssh/known_hosts\n"
        text = f"{config}\nHost *\n{files}  LogLevel ERROR\n".format(**words)
        (self.home / ".ssh/config").write_text(text)
        (self.home / ".ssh/known_hosts").write_text(known.format(**words) + "\n")
        (self.home / "more").write_text(more.format(**words) + "\n")

    def ssh_gets_in(self) -> bool:
        """What OpenSSH says; it leaves nothing behind."""
        known = self.home / ".ssh/known_hosts"
        before = known.read_text()
        command = [
            "ssh",
            "-F",
            str(self.home / ".ssh/config"),
            "-o",
            "BatchMode=yes",
            "box",
            "true",
        ]
        asked = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        known.write_text(before)
        return asked.returncode == 0

    def we_get_in(self) -> bool:
        ssh_config.read_endpoint.cache_clear()
        try:
            with open_ssh(HostSpec(name="box")) as client:
                _, stdout, _ = client.exec_command("whoami")
                return stdout.read().decode() == f"{USER}\n"
        except (paramiko.SSHException, OSError):
            return False


def _public(text: str) -> str:
    return " ".join(text.split()[:2])


def _keygen(*arguments: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with run_host(host_name("like-ssh"), tmp_path_factory.mktemp("host")) as host:
        yield host


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, host: Host) -> Path:
    """With the key that gets in, another one, and an authority that vouches for the host."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir()
    for name in ("lab", "alice_at_box", "a key"):
        (home / name).write_bytes(host.key.read_bytes())
        (home / name).chmod(0o600)
    (home / "lab.pub").write_bytes(Path(f"{host.key}.pub").read_bytes())
    for name in ("other", "authority", *(f"other{number}" for number in range(7))):
        _keygen("-t", "ed25519", "-N", "", "-f", home / name)
    included = OWN.format(home=home, address=host.address)
    (home / "included.conf").write_text(f"Host box\n  {included}\n")
    (home / "includes.conf").write_text(f"Include {home}/incl*d.conf\n")
    public = home / "hostkey.pub"
    public.write_text(host.run("cat /etc/ssh/ssh_host_ed25519_key.pub"))
    _keygen("-s", home / "authority", "-h", "-I", "box", "-n", host.address, public)
    host.run(CERTIFY, (home / "hostkey-cert.pub").read_text())
    return home


@pytest.fixture
def lab(home: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return Lab(home, host)


@pytest.mark.parametrize("name", WAYS)
def test_ways(name: str, lab: Lab) -> None:
    lab.write(WAYS[name], "{address} {key}")
    expected = name not in {"a user that is not let in", "no configuration that ssh accepts"}
    assert (lab.ssh_gets_in(), lab.we_get_in()) == (expected, expected)


@pytest.mark.parametrize("name", KNOWN)
def test_known_hosts(name: str, lab: Lab) -> None:
    lab.write(WAYS["a name"], KNOWN[name])
    asked = lab.ssh_gets_in()
    assert lab.we_get_in() == asked


def test_known_hosts_with_hashed_names(lab: Lab) -> None:
    lab.write(WAYS["a name"], "{address} {key}")
    _keygen("-H", "-f", lab.home / ".ssh/known_hosts")
    assert (lab.ssh_gets_in(), lab.we_get_in()) == (True, True)


@pytest.mark.parametrize("directive", CHECKING)
def test_which_key_is_the_right_one(directive: str, lab: Lab) -> None:
    known, more = CHECKING[directive]
    lab.write(f"{WAYS['a name']}\n  {directive}", known, more)
    asked = lab.ssh_gets_in()
    assert lab.we_get_in() == asked
    assert asked == (directive != "HostKeyAlias other")


@pytest.fixture
def agent(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """With seven keys that open nothing, and then the one that gets in."""
    place = lab.home / "agent"
    with ssh_agent(place):
        keys = [lab.home / f"other{number}" for number in range(7)]
        environment = os.environ | {"SSH_AUTH_SOCK": str(place)}
        subprocess.run(["ssh-add", "-q", *keys, lab.home / "lab"], env=environment, check=True)
        yield place
    place.unlink(missing_ok=True)


@pytest.mark.parametrize("in_environment", [True, False])
@pytest.mark.parametrize(
    "directives",
    [
        ("IdentityFile {home}/lab",),
        ("IdentityFile {home}/lab.pub", "IdentitiesOnly yes"),
        ("IdentityFile {home}/gone", "IdentitiesOnly yes"),
        ("IdentityFile {home}/other", "IdentitiesOnly yes"),
        ("IdentityAgent {home}/agent", "IdentityFile {home}/lab.pub"),
        ("IdentityAgent $LAB_AGENT", "IdentityFile {home}/lab.pub"),
        ("IdentityAgent none", "IdentityFile {home}/lab.pub"),
    ],
)
def test_agents(
    directives: Sequence[str],
    in_environment: bool,
    lab: Lab,
    agent: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if in_environment:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    monkeypatch.setenv("LAB_AGENT", str(agent))
    (lab.home / "gone.pub").write_bytes((lab.home / "lab.pub").read_bytes())
    host = ["Host box", "HostName {address}", "User alice", *directives]
    lab.write("\n  ".join(host), "{address} {key}")
    asked = lab.ssh_gets_in()
    assert lab.we_get_in() == asked
