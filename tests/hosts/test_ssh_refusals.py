"""What keeps one key, one server or one command from being used: the others are, or it is told."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from deploy.hosts.connection import explain
from deploy.hosts.ssh import open_ssh
from deploy.hosts.ssh_keys import public_part
from deploy.spec import HostSpec
from tests.hosts.ssh_server import HOST_KEY, Server, configure, serve
from tests.processes import ssh_agent

PUBLIC = f"{HOST_KEY.get_name()} {HOST_KEY.get_base64()}"


def make_key(path: Path, *, kind: str = "ed25519") -> bytes:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path), "-C", path.name], check=True
    )
    return public_part(str(path))


@pytest.fixture
def agent(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = home / "agent"
    with ssh_agent(place):
        monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
        yield place


def add(*arguments: str) -> None:
    # nobody is there to say yes to what ssh-add -c asks
    environment = {"SSH_ASKPASS": "/bin/false"} | {"SSH_AUTH_SOCK": os.environ["SSH_AUTH_SOCK"]}
    subprocess.run(["ssh-add", "-q", *arguments], check=True, env=os.environ | environment)


# keys


def test_a_key_that_its_agent_does_not_use_keeps_no_other_from_it(
    home: Path, server: Server, agent: Path
) -> None:
    make_key(home / "asks")
    server.allowed = make_key(home / "mine")
    add("-c", str(home / "asks"))
    open_ssh(configure(home, server, f"IdentityFile {home}/asks", f"IdentityFile {home}/mine"))
    assert set(server.offered) == {server.allowed}


def test_a_key_that_its_agent_does_not_use_is_told(home: Path, server: Server, agent: Path) -> None:
    server.allowed = make_key(home / "asks")
    add("-c", str(home / "asks"))
    host = configure(home, server)
    with pytest.raises(paramiko.AuthenticationException) as refused:
        open_ssh(host)
    assert str(refused.value) == (
        "Authentication failed for alice; offered: asks of the agent; "
        "keys that did not sign: asks of the agent (key cannot be used for signing)"
    )
    assert "say yes where the agent asks" in explain(f"{refused.value}", host)


def test_an_agent_that_ends_meanwhile(
    home: Path, server: Server, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key(home / "gone")
    server.allowed = make_key(home / "mine")
    add(str(home / "gone"))
    monkeypatch.setattr(
        "deploy.hosts.ssh_agent.Agent._send_message", lambda *_: (_ for _ in ()).throw(OSError())
    )
    monkeypatch.setattr("deploy.hosts.ssh_agent.Agent.get_keys", _listed(home / "gone"))
    open_ssh(configure(home, server, f"IdentityFile {home}/gone", f"IdentityFile {home}/mine"))


def _listed(key: Path):  # type: ignore[no-untyped-def]
    return lambda agent: (paramiko.agent.AgentKey(agent, public_part(str(key))),)


@pytest.mark.parametrize(("named", "lets_in"), [("box", True), ("other", False)])
def test_a_key_that_is_for_some_servers_alone(
    named: str, lets_in: bool, home: Path, server: Server, agent: Path
) -> None:
    """An agent uses such a key where it is told which server has proved itself to be which."""
    server.allowed = make_key(home / "bound")
    other = make_key(home / "other_host") and (home / "other_host.pub").read_text()
    (home / "known").write_text(f"box {PUBLIC}\nother {other}\n")
    add("-H", str(home / "known"), "-h", named, str(home / "bound"))
    (home / "bound").unlink()
    host = configure(home, server)
    if lets_in:
        open_ssh(host).close()
    else:
        with pytest.raises(paramiko.AuthenticationException, match="did not sign"):
            open_ssh(host)


# servers


@pytest.mark.parametrize("form", ["list", "krl"])
@pytest.mark.parametrize("is_in", [True, False])
def test_a_server_whose_key_was_revoked(form: str, is_in: bool, home: Path, server: Server) -> None:
    make_key(home / "other")
    revoked, key = home / "revoked", home / "host.pub"
    key.write_text(f"{PUBLIC}\n" if is_in else (home / "other.pub").read_text())
    if form == "krl":
        subprocess.run(["ssh-keygen", "-q", "-k", "-f", str(revoked), str(key)], check=True)
    else:
        revoked.write_text(f"# no more\n{key.read_text()}")
    host = configure(home, server, f"RevokedHostKeys {revoked}")
    if not is_in:
        open_ssh(host).close()
        return
    with pytest.raises(paramiko.SSHException, match="was revoked") as refused:
        open_ssh(host)
    assert "ssh-keygen -A" in explain(str(refused.value), host)


def test_where_revoked_keys_cannot_be_read_no_server_is_trusted(home: Path, server: Server) -> None:
    host = configure(home, server, f"RevokedHostKeys {home}/nowhere")
    with pytest.raises(paramiko.SSHException) as refused:
        open_ssh(host)
    assert str(refused.value) == f"RevokedHostKeys {home}/nowhere: No such file or directory"
    assert "correct that path" in explain(str(refused.value), host)


@pytest.mark.parametrize(
    ("lines", "lets_in"),
    [
        (["NoHostAuthenticationForLocalhost yes"], True),
        (["NoHostAuthenticationForLocalhost no"], False),
        (["NoHostAuthenticationForLocalhost yes", "HostKeyAlias gpu1"], False),
        (["NoHostAuthenticationForLocalhost yes", "ProxyCommand {relay}"], False),
    ],
)
def test_the_end_of_a_tunnel_need_not_be_known(
    lines: list[str], lets_in: bool, home: Path, server: Server
) -> None:
    (home / ".ssh/known_hosts").unlink()
    relay = home / "relay"
    relay.write_text("#!/usr/bin/env bash\nexec 3<>/dev/tcp/$1/$2; cat <&3 & exec cat >&3\n")
    relay.chmod(0o755)
    host = configure(home, server, *(line.format(relay=f"{relay} %h %p") for line in lines))
    if lets_in:
        open_ssh(host).close()
    else:
        with pytest.raises(paramiko.SSHException, match="not found in known_hosts"):
            open_ssh(host)


@pytest.mark.parametrize("accepted", [True, False])
def test_an_old_server_is_reached_where_ssh_accepts_its_key(accepted: bool, home: Path) -> None:
    key = paramiko.RSAKey.generate(2048)
    with serve(host_key=key, host_key_kinds=("ssh-rsa",)) as server:
        (home / ".ssh/known_hosts").write_text(
            f"[127.0.0.1]:{server.port} ssh-rsa {key.get_base64()}\n"
        )
        host = configure(home, server, *(["HostKeyAlgorithms +ssh-rsa"] if accepted else []))
        if accepted:
            open_ssh(host).close()
            return
        with pytest.raises(paramiko.SSHException) as refused:
            open_ssh(host)
        fix = explain(f"SSH error ({refused.value})", host)
        assert "HostKeyAlgorithms +ssh-ed25519" in fix
        assert "KexAlgorithms" not in fix


# commands


@pytest.mark.parametrize(
    ("command", "status"), [("exit 7", 7), ("no-such-proxy %h", 127), ("echo no banner", 0)]
)
def test_a_command_that_does_not_connect_is_told(
    command: str, status: int, home: Path, server: Server
) -> None:
    host = configure(home, server, f"ProxyCommand sh -c '{command}'")
    with pytest.raises(paramiko.SSHException) as refused:
        open_ssh(host)
    said = f"sh -c '{command.replace('%h', '127.0.0.1')}'"
    assert str(refused.value) == (
        f"the command that connects has ended with exit status {status}: {said}"
    )
    assert explain(f"SSH error ({refused.value})", host).endswith("says what is run")


def test_a_command_that_connects_runs_in_the_users_shell(
    home: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/bin/bash")
    (home / "relay").write_text("exec 3<>/dev/tcp/$1/$2; cat <&3 & exec cat >&3\n")
    host = configure(home, server, f"ProxyCommand bash <(cat {home}/relay) %h %p")
    open_ssh(host).close()


# what an operator is told to run


@pytest.mark.parametrize(
    ("host", "arguments"),
    [
        (HostSpec(name="gpu1"), ["gpu1"]),
        (HostSpec(name="gpu1", address="fd00::1", ssh_port=2222), ["-p", "2222", "fd00::1"]),
        (
            HostSpec(name="gpu1", ssh_user="LAB\\alice", ssh_jump="bob@bastion"),
            ["-o", "ProxyJump=bob@bastion", "LAB\\alice@gpu1"],
        ),
        (HostSpec(name="gpu1", ssh_key="/keys/my lab"), ["-i", "/keys/my lab", "gpu1"]),
    ],
)
def test_commands_go_the_way_that_is_declared_and_pass_a_shell(
    host: HostSpec, arguments: list[str], home: Path
) -> None:
    fix = explain("Authentication failed", host)
    for program in ("ssh", "ssh-copy-id"):
        assert shlex.join([program, *arguments]) in fix
    assert shlex.join(["ssh", *arguments]) in explain("not found in known_hosts", host)


def test_an_old_key_is_removed_from_where_it_is(home: Path, server: Server) -> None:
    make_key(home / "other")
    known = home / "lab_hosts"
    own = PUBLIC.replace(HOST_KEY.get_base64(), paramiko.ECDSAKey.generate().get_base64())
    known.write_text(f"lab {own}\n")
    host = configure(home, server, f"UserKnownHostsFile {known}", "HostKeyAlias lab")
    with pytest.raises(paramiko.BadHostKeyException) as refused:
        open_ssh(host)
    fix = explain(f"SSH host key error ({refused.value})", host)
    assert f"ssh-keygen -R lab -f {known}" in fix
