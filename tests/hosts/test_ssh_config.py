"""Where a connection goes is what OpenSSH says, with what the inventory declares before it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from deploy.hosts import ssh_config
from deploy.hosts.connection import explain
from deploy.hosts.ssh import find_endpoint, find_endpoints_ahead
from deploy.hosts.ssh_config import Endpoint
from deploy.spec import HostSpec

FAKE = """#!/bin/sh
printf '%s\\n' "$@" >>"$HOME/asked"
cat "$HOME/answer"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    ssh_config.read_endpoint.cache_clear()
    yield tmp_path
    ssh_config.read_endpoint.cache_clear()
    ssh_config._asked.clear()


@pytest.fixture
def answer(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a stand-in for ``ssh -G`` prints."""
    (home / "bin").mkdir()
    (home / "bin/ssh").write_text(FAKE)
    (home / "bin/ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}/bin:{os.environ['PATH']}")
    return home / "answer"


def test_everything_that_openssh_says_counts(answer: Path, home: Path) -> None:
    answer.write_text(
        "user you\nhostname 10.0.0.9\nport 22022\nidentitiesonly yes\nidentityagent ~/agent\n"
        "hostkeyalias lab\nidentityfile ~/.ssh/%n_key\nidentityfile /keys/second\n"
        "certificatefile ~/.ssh/cert.pub\nproxycommand nc %h %p # %r%%\nproxyjump none\n"
        "userknownhostsfile ~/.ssh/lab_hosts /etc/other\nglobalknownhostsfile /etc/known\n"
        "stricthostkeychecking accept-new\nserveraliveinterval 7\nconnecttimeout 9\n"
        "addressfamily inet6\nbindaddress fd00::2\n"
        'proxyusefdpass yes\nknownhostscommand /bin/known "%H of" %r %t\n'
        "controlpath /run/cm-you@10.0.0.9\ngssapiauthentication yes\n"
        "revokedhostkeys ~/.ssh/revoked\nhostkeyalgorithms ssh-ed25519,ssh-rsa\n"
        "nohostauthenticationforlocalhost yes\n"
    )
    assert find_endpoint(HostSpec(name="gpu1")) == Endpoint(
        address="10.0.0.9",
        port=22022,
        user="you",
        keys=(f"{home}/.ssh/gpu1_key", "/keys/second"),
        certificates=(f"{home}/.ssh/cert.pub",),
        only_these_keys=True,
        agent=f"{home}/agent",
        jump=None,
        proxy_command="nc 10.0.0.9 22022 # you%",
        proxy_passes_socket=True,
        known_hosts=(f"{home}/.ssh/lab_hosts", "/etc/other", "/etc/known"),
        known_hosts_command=("/bin/known", "lab of", "you", "NONE"),
        known_as="lab",
        accept_new=True,
        revoked_host_keys=f"{home}/.ssh/revoked",
        accepts_old_rsa=True,
        trusts_loopback=True,
        family=socket.AF_INET6,
        bind_address="fd00::2",
        connect_timeout_seconds=9,
        keepalive_seconds=7,
        control_path="/run/cm-you@10.0.0.9",
        uses_kerberos=True,
    )


def test_a_path_with_a_quote_in_it(answer: Path) -> None:
    answer.write_text("userknownhostsfile /home/o'brien/known /etc/known\n")
    found = find_endpoint(HostSpec(name="gpu1"))
    assert found.known_hosts[:2] == ("/home/o'brien/known", "/etc/known")


def test_what_is_no_utf_8_is_no_traceback(answer: Path) -> None:
    (answer.parent / "bin/ssh").write_bytes(b"#!/bin/sh\necho 'line 1: B\xfcro' >&2; exit 255\n")
    with pytest.raises(paramiko.SSHException, match="ssh -G gpu1: line 1: B"):
        find_endpoint(HostSpec(name="gpu1"))


MANY = """#!/bin/sh
for name; do :; done
echo "$name" >>"$HOME/asked"
[ "$name" != "no's" ] || { echo "line 3: bad" >&2; exit 255; }
cat >/dev/null
printf '%s\\n' "hostname $name.lab" "user u" "identityfile ~/.ssh/$name"
"""


def test_many_are_asked_about_at_once_and_one_alone_that_is_not_accepted(
    answer: Path, home: Path
) -> None:
    (answer.parent / "bin/ssh").write_text(MANY)
    hosts = [HostSpec(name=name) for name in ("a", "no's", "c")]
    find_endpoints_ahead(hosts)
    names = (home / "asked").read_text().splitlines()
    assert names == ["a", "no's", "c"]
    found = [find_endpoint(hosts[0]), find_endpoint(hosts[2])]
    assert [endpoint.address for endpoint in found] == ["a.lab", "c.lab"]
    assert found[1].keys == (f"{home}/.ssh/c",)
    with pytest.raises(paramiko.SSHException, match="ssh -G no's: line 3: bad"):
        find_endpoint(hosts[1])
    assert (home / "asked").read_text().splitlines() == [*names, "no's"]


def test_one_that_hangs_is_named_and_keeps_no_other_from_its_answer(
    answer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_config, "TIMEOUT_SECONDS", 1)
    hangs = MANY.replace("printf", '[ "$name" != b ] || exec sleep 30\nprintf', 1)
    (answer.parent / "bin/ssh").write_text(hangs)
    hosts = [HostSpec(name=name) for name in "abc"]
    find_endpoints_ahead(hosts)
    assert find_endpoint(hosts[2]).address == "c.lab"
    with pytest.raises(paramiko.SSHException, match="ssh -G b: no answer within 1 s") as refused:
        find_endpoint(hosts[1])
    # it is not asked once more for what to do
    monkeypatch.setattr("deploy.hosts.connection.find_endpoint", lambda _: pytest.fail("asked"))
    assert explain(str(refused.value), hosts[1]).endswith("until this works: ssh -G b")


def test_the_key_of_nobody_keeps_no_other_from_its_answer(answer: Path) -> None:
    (answer.parent / "bin/ssh").write_text(MANY)
    wrong = HostSpec(name="a", ssh_key="~nobody-here/key")
    find_endpoints_ahead([wrong, HostSpec(name="c")])
    assert list(ssh_config._asked) == [("c", ssh_config.Declared())]
    with pytest.raises(paramiko.SSHException, match="ssh_key ~nobody-here/key: there") as refused:
        find_endpoint(wrong)
    assert explain(str(refused.value), wrong).startswith("declare the path of a key")


def test_without_openssh_nothing_is_known_ahead(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "bin").mkdir()
    (home / "bin/sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", f"{home}/bin")
    find_endpoints_ahead([HostSpec(name="a"), HostSpec(name="b")])
    assert find_endpoint(HostSpec(name="b")).address == "b"


def test_what_is_declared_is_asked_with_and_only_once(answer: Path, home: Path) -> None:
    answer.write_text("user me\nhostname 10.0.0.1\nport 2222\nproxyjump b\n")
    host = HostSpec(
        name="gpu1", address="10.0.0.1", ssh_user="me", ssh_port=2222, ssh_key="~/k", ssh_jump="b"
    )
    assert find_endpoint(host) is find_endpoint(host)
    asked = (home / "asked").read_text().split()
    assert (asked[0], asked[2]) == ("-F", "-G")
    assert asked[3:9] == ["-l", "me", "-p", "2222", "-J", "b"]
    assert asked[9:] == ["-o", f'IdentityFile="{home}/k"', "--", "10.0.0.1"]


@pytest.mark.parametrize(
    ("said", "socket"), [("none", None), ("SSH_AUTH_SOCK", "/a"), ("$OTHER", "/b"), ("/c", "/c")]
)
def test_which_agent(
    said: str, socket: str | None, answer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/a")
    monkeypatch.setenv("OTHER", "/b")
    answer.write_text(f"hostname gpu1\nidentityagent {said}\n")
    assert find_endpoint(HostSpec(name="gpu1")).agent == socket


def test_a_configuration_that_openssh_refuses(answer: Path, home: Path) -> None:
    (home / "bin/ssh").write_text("#!/bin/sh\necho 'line 3: Bad configuration' >&2; exit 255")
    with pytest.raises(paramiko.SSHException, match=r"ssh -G gpu1: line 3: Bad configuration"):
        find_endpoint(HostSpec(name="gpu1"))


CONFIG = """
Include {home}/.ssh/more
Match user me host gpu*
  Port 2022
Host gpu1
  HostName 10.0.0.9
  User you
  Port 22022
  ProxyJump bastion
  IdentityFile ~/.ssh/lab
"""


def test_openssh_itself(home: Path) -> None:
    (home / ".ssh/config").write_text(CONFIG.format(home=home))
    (home / ".ssh/more").write_text("Host included\n  HostName 10.0.0.7\n")
    found = find_endpoint(HostSpec(name="gpu1"))
    assert (found.address, found.port, found.user) == ("10.0.0.9", 22022, "you")
    assert (found.keys, found.jump) == ((f"{home}/.ssh/lab",), "bastion")
    assert found.known_hosts[0] == f"{home}/.ssh/known_hosts"
    assert find_endpoint(HostSpec(name="included")).address == "10.0.0.7"
    mine = find_endpoint(HostSpec(name="gpu1", ssh_user="me", ssh_key="~/k"))
    assert (mine.port, mine.user, mine.keys[0]) == (2022, "me", f"{home}/k")


def test_the_configuration_of_another_home_directory_in_another_encoding(home: Path) -> None:
    (home / ".ssh/conf.d").mkdir(parents=True)
    (home / ".ssh/config").write_bytes(b"# B\xfcro\nInclude conf.d/*.conf\n")
    (home / ".ssh/conf.d/lab.conf").write_bytes(b"Host gpu1 # B\xfcro\n  HostName 10.0.0.9\n")
    assert find_endpoint(HostSpec(name="gpu1")).address == "10.0.0.9"


def test_without_openssh(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    (home / ".ssh/config").write_text(CONFIG.format(home=home))
    found = find_endpoint(HostSpec(name="gpu1", ssh_port=22, ssh_jump="me@other"))
    assert (found.address, found.port, found.user) == ("10.0.0.9", 22, "you")
    assert (found.keys, found.jump) == ((f"{home}/.ssh/lab",), "me@other")
    assert found.known_hosts[0] == f"{home}/.ssh/known_hosts"
    keys = find_endpoint(HostSpec(name="x", ssh_key="~/k")).keys
    assert keys[:2] == (f"{home}/k", f"{home}/.ssh/id_ed25519")


def test_what_another_home_directory_includes_by_a_relative_path(home: Path) -> None:
    """There, and not in the home directory of the user."""
    (home / ".ssh/conf.d").mkdir()
    (home / ".ssh/config").write_text(
        'Include "conf.d/a*"\nHost gpu*\n  include=conf.d/b.conf\n'
        "Match final host 10.0.0.9\n  ConnectTimeout 7\nHost *\n  Port 2299\n"
    )
    (home / ".ssh/conf.d/a.conf").write_text("Host gpu1\n  HostName 10.0.0.9\n")
    (home / ".ssh/conf.d/b.conf").write_text("User you\n")
    found, other = find_endpoint(HostSpec(name="gpu1")), find_endpoint(HostSpec(name="x"))
    assert (found.address, found.user, found.port) == ("10.0.0.9", "you", 2299)
    assert (found.connect_timeout_seconds, other.connect_timeout_seconds) == (7, 30)
    assert (other.address, other.port, other.user != "you") == ("x", 2299, True)


def test_what_is_configured_for_all_users_counts_in_another_home_directory(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline, or a login with another HOME; what the user says comes first, as for ssh."""
    for_all = tmp_path / "etc/ssh_config"
    (for_all.parent / "ssh_config.d").mkdir(parents=True)
    monkeypatch.setattr(ssh_config, "FOR_ALL_USERS", for_all)
    for_all.write_text("Include ssh_config.d/*.conf\nHost *\n  Port 2222\n  User everybody\n")
    (for_all.parent / "ssh_config.d/lab.conf").write_text("Host gpu1\n  HostName 10.0.0.9\n")
    (home / ".ssh/config").write_text("Host gpu*\n  User you\n")
    found = find_endpoint(HostSpec(name="gpu1"))
    assert (found.user, found.address, found.port) == ("you", "10.0.0.9", 2222)
    ssh_config.read_endpoint.cache_clear()
    (home / ".ssh/config").unlink()
    assert find_endpoint(HostSpec(name="gpu1")).user == "everybody"


def test_what_is_wrong_in_another_home_directory_is_told_with_its_place(home: Path) -> None:
    (home / ".ssh/config").write_text("Host gpu1\n  Nonsense yes\n")
    with pytest.raises(paramiko.SSHException, match=r"~/\.ssh/config: line 2: "):
        find_endpoint(HostSpec(name="gpu1"))
