"""Who a server is, as OpenSSH decides it: ssh-keygen makes the keys, certificates and hashes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import paramiko
import pytest

from deploy.hosts.known_hosts import KnownHosts, parse

NAME = "gpu1.lab"
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes each pair of keys once, as an RSA key takes half a second."""
    folder = tmp_path_factory.mktemp("keys")

    @cache
    def _make(name: str, kind: str) -> Path:
        path = folder / f"{name}-{kind}"
        size = ["-b", "2048"] if kind == "rsa" else []
        keygen("-t", kind, *size, "-N", "", "-f", str(path))
        return path

    return _make


@pytest.fixture
def make(made: Make, tmp_path: Path) -> Make:
    """A pair of keys of a test's own; gives the path of the private one."""

    def _make(name: str, kind: str = "ed25519") -> Path:
        pair = made(name, kind)
        shutil.copy(f"{pair}.pub", tmp_path / f"{name}.pub")
        return Path(shutil.copy(pair, tmp_path / name))

    return _make


def keygen(*arguments: str) -> str:
    command = ["ssh-keygen", "-q", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def public(path: Path) -> str:
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])


def key_of(path: Path, *, certified: bool = False) -> paramiko.PKey:
    """What a server shows: its key, or its certificate."""
    key = paramiko.PKey.from_path(str(path))
    if certified:
        key.load_certificate(f"{path}-cert.pub")
    return key


def certify(authority: Path, host: Path, *options: str, names: str = NAME) -> None:
    named = ["-n", names] if names else []
    keygen("-s", str(authority), "-I", "x", *(options or ("-h",)), *named, f"{host}.pub")


def decide(
    tmp_path: Path, lines: str, key: paramiko.PKey, name: str = NAME, *, accept_new: bool = False
) -> Path:
    file = tmp_path / "known_hosts"
    file.write_text(lines)
    known = KnownHosts([str(file)], accept_new=accept_new)
    known.missing_host_key(paramiko.SSHClient(), name, key)
    return file


NAMES = {
    NAME: NAME,
    "*.lab": NAME,
    "gpu?.lab": NAME,
    "GPU1.Lab": NAME,
    "a,b,*.lab": NAME,
    "*.lab,!gpu1.*": NAME,
    "!other.lab,*.lab": NAME,
    "other": NAME,
    "gpu1": NAME,
    "[gpu1.lab]:2222": "[gpu1.lab]:2222",
    "[*.lab]:2222": "[gpu1.lab]:2222",
    "[gpu1.lab]:22": "[gpu1.lab]:2222",
    "[fd00::1]:2222": "[fd00::1]:2222",
    "fd00::*": "fd00::1",
}


@pytest.mark.parametrize(("names", "asked"), NAMES.items())
def test_names_match_as_ssh_keygen_says(names: str, asked: str, tmp_path: Path, make: Make) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"{names} {public(make('host'))}\n")
    found = subprocess.run(["ssh-keygen", "-F", asked, "-f", file], capture_output=True)
    [line] = parse(file.read_text())
    assert line.is_of(asked) is (found.returncode == 0)


def test_hashed_names(tmp_path: Path, make: Make) -> None:
    host = make("host")
    file = tmp_path / "known_hosts"
    file.write_text(f"{NAME} {public(host)}\n[{NAME}]:2222 {public(host)}\n")
    keygen("-H", "-f", str(file))
    assert NAME not in file.read_text()
    one, two = parse(file.read_text())
    assert [one.is_of(NAME), one.is_of("gpu2.lab"), two.is_of(f"[{NAME}]:2222")] == [
        *(True, False, True),
    ]


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_known_key(kind: str, tmp_path: Path, make: Make) -> None:
    host = make("host", kind)
    decide(tmp_path, f"{NAME} {public(host)}\n", key_of(host))


def test_a_key_that_is_known_without_a_port_is_good_for_every_port(
    tmp_path: Path, make: Make
) -> None:
    host = make("host")
    decide(tmp_path, f"{NAME} {public(host)}\n", key_of(host), f"[{NAME}]:2222")


def test_one_of_several_keys_of_a_kind(tmp_path: Path, make: Make) -> None:
    """As behind an address that several machines share."""
    old, host = make("old"), make("host")
    decide(tmp_path, f"{NAME} {public(old)}\n{NAME} {public(host)}\n", key_of(host))


@pytest.mark.parametrize(
    "line",
    [
        *("", "# comment", "one", "one two", "x ssh-rsa AAAA!", "x ssh-ed25519 AAAA"),
        *("@cert-authority", "@new * ssh-rsa AAAA", "x sk-ssh-ed25519@openssh.com AAAAGnNr"),
        "\u00e4 ssh-dss AAAAB3NzaC1kc3M=",
    ],
)
def test_other_lines_do_not_hide_a_known_key(line: str, tmp_path: Path, make: Make) -> None:
    host = make("host")
    decide(tmp_path, f"{line}\n{NAME} {public(host)}\n", key_of(host))


def test_an_unknown_key_is_refused(tmp_path: Path, make: Make) -> None:
    with pytest.raises(paramiko.SSHException, match=f"'{NAME}' not found in known_hosts"):
        decide(tmp_path, f"other {public(make('host'))}\n", key_of(make("new")))


@pytest.mark.parametrize("accept_new", [True, False])
@pytest.mark.parametrize("name", [NAME, f"[{NAME}]:2222"])
def test_a_key_that_changed_is_refused(
    name: str, accept_new: bool, tmp_path: Path, make: Make
) -> None:
    old, new = make("old"), make("new")
    with pytest.raises(paramiko.BadHostKeyException, match="does not match"):
        decide(tmp_path, f"{name} {public(old)}\n", key_of(new), name, accept_new=accept_new)


def test_a_new_key_is_added_where_that_is_declared(tmp_path: Path, make: Make) -> None:
    host = make("host")
    file = decide(tmp_path, "# mine\n", key_of(host), accept_new=True)
    assert file.read_text() == f"# mine\n{NAME} {public(host)}\n"
    decide(tmp_path, file.read_text(), key_of(host))


@pytest.mark.parametrize("before", ["", "# mine", "# mine\n"])
def test_a_new_key_is_a_line_of_its_own(before: str, tmp_path: Path, make: Make) -> None:
    host = make("host")
    file = decide(tmp_path, before, key_of(host), accept_new=True)
    assert f"{NAME} {public(host)}" in file.read_text().splitlines()
    assert file.read_text().startswith(before)


def test_a_new_key_that_cannot_be_kept_is_known_until_the_run_ends(make: Make) -> None:
    known = KnownHosts(["/proc/nothing/known_hosts"], accept_new=True)
    known.missing_host_key(paramiko.SSHClient(), NAME, key_of(make("host")))
    with pytest.raises(paramiko.BadHostKeyException):
        known.missing_host_key(paramiko.SSHClient(), NAME, key_of(make("other")))


def test_a_command_that_knows_hosts(tmp_path: Path, make: Make) -> None:
    host = make("host")
    known = KnownHosts([], ["printf", f"{NAME} {public(host)}\n"], accept_new=False)
    known.missing_host_key(paramiko.SSHClient(), NAME, key_of(host))
    with pytest.raises(paramiko.BadHostKeyException):
        known.missing_host_key(paramiko.SSHClient(), NAME, key_of(make("other")))
    with pytest.raises(paramiko.SSHException, match="KnownHostsCommand: "):
        KnownHosts([], [str(tmp_path / "gone")], accept_new=False)


def test_a_new_key_with_no_file_to_keep_it_in(make: Make) -> None:
    known = KnownHosts([], accept_new=True)
    host = key_of(make("host"))
    known.missing_host_key(paramiko.SSHClient(), NAME, host)
    with pytest.raises(paramiko.BadHostKeyException):
        known.missing_host_key(paramiko.SSHClient(), NAME, key_of(make("other")))


def test_a_revoked_key_is_refused(tmp_path: Path, make: Make) -> None:
    host = make("host")
    lines = f"{NAME} {public(host)}\n@revoked * {public(host)}\n"
    with pytest.raises(paramiko.SSHException, match="was revoked"):
        decide(tmp_path, lines, key_of(host), accept_new=True)


# authorities


@pytest.mark.parametrize("names", [NAME, "*.lab", "a,gpu1.*", "GPU1.lab", ""])
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_host_that_an_authority_vouches_for(
    kind: str, names: str, tmp_path: Path, make: Make
) -> None:
    authority, host = make("ca", kind), make("host", kind)
    certify(authority, host, names=names)
    shown = key_of(host, certified=True)
    decide(tmp_path, f"@cert-authority *.lab {public(authority)}\n", shown)
    decide(tmp_path, f"@cert-authority *.lab {public(authority)}\n", shown, f"[{NAME}]:2222")


def test_a_known_key_with_a_certificate_of_a_strange_authority(tmp_path: Path, make: Make) -> None:
    host = make("host")
    certify(make("ca"), host)
    lines = f"@cert-authority * {public(make('other'))}\n{NAME} {public(host)}\n"
    decide(tmp_path, lines, key_of(host, certified=True))


@pytest.mark.parametrize(
    ("options", "names", "reason"),
    [
        (("-h",), "gpu2.lab,gpu3.lab", "it is for gpu2.lab, gpu3.lab"),
        (("-h", "-V", "20200101:20200102"), NAME, "it has expired"),
        (("-h", "-V", "20990101:20990102"), NAME, "is not valid yet"),
        (("-O", "no-pty"), NAME, "it is not that of a host"),
    ],
)
def test_certificates_that_are_not_accepted(
    options: tuple[str, ...], names: str, reason: str, tmp_path: Path, make: Make
) -> None:
    authority, host = make("ca"), make("host")
    certify(authority, host, *options, names=names)
    lines = f"@cert-authority * {public(authority)}\n"
    with pytest.raises(paramiko.SSHException, match=reason):
        decide(tmp_path, lines, key_of(host, certified=True), accept_new=True)


def test_an_authority_that_is_not_this_hosts(tmp_path: Path, make: Make) -> None:
    authority, host = make("ca"), make("host")
    certify(authority, host)
    for lines in (
        f"@cert-authority *.corp {public(authority)}\n",
        f"@cert-authority * {public(make('other'))}\n",
    ):
        with pytest.raises(paramiko.SSHException, match="not found in known_hosts"):
            decide(tmp_path, lines, key_of(host, certified=True))


def test_a_revoked_authority(tmp_path: Path, make: Make) -> None:
    authority, host = make("ca"), make("host")
    certify(authority, host)
    lines = f"@cert-authority * {public(authority)}\n@revoked * {public(authority)}\n"
    with pytest.raises(paramiko.SSHException, match="was revoked"):
        decide(tmp_path, lines, key_of(host, certified=True))


@pytest.mark.parametrize("part", ["names", "signature"])
def test_a_certificate_that_somebody_altered(part: str, tmp_path: Path, make: Make) -> None:
    authority, host = make("ca"), make("host")
    certify(authority, host, names=f"abcde,{NAME}")
    key = key_of(host, certified=True)
    assert key.public_blob
    blob = bytearray(key.public_blob.key_blob)
    blob[blob.index(b"abcde") if part == "names" else -10] ^= 1
    key.public_blob.key_blob = bytes(blob)
    with pytest.raises(paramiko.SSHException, match="its signature is wrong"):
        decide(tmp_path, f"@cert-authority * {public(authority)}\n", key)


# what a server is asked for


def algorithms(tmp_path: Path, lines: str) -> list[str]:
    (tmp_path / "known_hosts").write_text(lines)
    return KnownHosts([str(tmp_path / "known_hosts")], accept_new=False).algorithms(NAME)


def test_a_server_is_asked_for_what_is_known_of_it(tmp_path: Path, make: Make) -> None:
    rsa, ecdsa = public(make("rsa", "rsa")), public(make("ecdsa", "ecdsa"))
    assert algorithms(tmp_path, "")[0] == "ssh-ed25519"
    assert algorithms(tmp_path, f"{NAME} {rsa}\n")[:2] == ["rsa-sha2-512", "rsa-sha2-256"]
    assert algorithms(tmp_path, f"{NAME} {ecdsa}\n")[0] == "ecdsa-sha2-nistp256"
    assert algorithms(tmp_path, f"other {ecdsa}\n")[0] == "ssh-ed25519"
    authority = algorithms(tmp_path, f"@cert-authority *.lab {rsa}\n")
    assert authority[0] == "ssh-ed25519-cert-v01@openssh.com"
    assert "ssh-ed25519" in authority
