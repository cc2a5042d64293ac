"""How OpenSSH would reach a host: its effective configuration, read with ``ssh -G``."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

import paramiko

TIMEOUT_SECONDS = 30
CONNECT_SECONDS = 30
KEEPALIVE_SECONDS = 30
ACCEPT_NEW = {"accept-new", "no", "off", "false"}
FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
RELATIVE_INCLUDE = re.compile(r"^(\s*Include[\s=]+\"?)(?![/~\s\"])", re.IGNORECASE | re.MULTILINE)
OWN_CONFIG = "~/.ssh/config"
FOR_ALL_USERS = Path("/etc/ssh/ssh_config")
DEFAULT_KEYS = [f"~/.ssh/id_{kind}" for kind in ("ed25519", "ecdsa", "rsa")]
DEFAULT_KNOWN_HOSTS = ["~/.ssh/known_hosts ~/.ssh/known_hosts2"]
GLOBAL_KNOWN_HOSTS = ["/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"]

Settings = dict[str, list[str]]
NEXT = "@@next"
"""Stands above what OpenSSH says of a server that was asked about among others."""
ACCEPTED = "@@accepted"
"""Stands below it, if OpenSSH accepts its configuration."""


@dataclass(frozen=True)
class Endpoint:
    """An SSH server and how to log in there."""

    address: str
    port: int
    user: str
    keys: tuple[str, ...]
    certificates: tuple[str, ...]
    only_these_keys: bool
    """Whether keys of the agent that are not among ``keys`` are left out."""
    agent: str | None
    """Socket of the agent."""
    jump: str | None
    proxy_command: str | None
    proxy_passes_socket: bool
    """Whether that command connects, and hands the connection over."""
    known_hosts: tuple[str, ...]
    """Files with host keys; a new key is added to the first one."""
    known_hosts_command: tuple[str, ...]
    """Prints lines as they stand in such files."""
    known_as: str | None
    """The name that the host's key is kept under, where that is not its address."""
    accept_new: bool
    revoked_host_keys: str | None
    """File of keys that no host may have."""
    accepts_old_rsa: bool
    """Whether a server may prove itself with RSA and SHA-1, as old ones do."""
    trusts_loopback: bool
    """Whether every key is accepted of a server on this machine, such as the end of a tunnel."""
    family: socket.AddressFamily
    """Which addresses its name stands for: IPv4, IPv6 or either."""
    bind_address: str | None
    """Own address that the connection comes from."""
    connect_timeout_seconds: int
    keepalive_seconds: int
    control_path: str | None
    """Socket of a connection that ``ssh`` may keep open to it."""
    uses_kerberos: bool
    """Whether ``ssh`` logs in with Kerberos where it can."""


@dataclass(frozen=True)
class Declared:
    """What an inventory says of a connection; it wins over the configuration of SSH."""

    user: str | None = None
    port: int | None = None
    key: str | None = None
    jump: str | None = None

    def options(self) -> list[str]:
        """The same for the command ``ssh``."""
        values = {"-l": self.user, "-p": self.port, "-J": self.jump}
        options = [text for name, value in values.items() if value for text in (name, str(value))]
        # a file that is not there would be left out by -i
        return [*options, "-o", f'IdentityFile="{self.key}"'] if self.key else options


_asked: dict[tuple[str, Declared], Settings] = {}


def ask_ahead(servers: Iterable[tuple[str, Declared]]) -> None:
    """Ask OpenSSH about many servers at once; ``read_endpoint`` needs not ask it then.

    It takes Python 10 ms to start a process, and a shell 1 ms. What OpenSSH does not accept is
    asked again when it is needed, and explained.
    """
    distinct = list(dict.fromkeys(servers))
    with _config_of_other_home() as source:
        lines = [
            f"echo {NEXT}; {shlex.join(_question(*server, source))} </dev/null && echo {ACCEPTED}"
            for server in distinct
        ]
        try:
            said = subprocess.run(
                ["sh"],
                input="\n".join(lines),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_SECONDS,
            ).stdout
        except subprocess.TimeoutExpired:
            return
    for server, answer in zip(distinct, said.split(f"{NEXT}\n")[1:], strict=False):
        text, accepted, _ = answer.partition(ACCEPTED)
        if accepted:
            _asked[server] = _settings(text)


@cache
def read_endpoint(name: str, declared: Declared) -> Endpoint:
    """The server that ``ssh NAME`` connects to.

    Raises:
        SSHException: if OpenSSH does not accept its configuration.
    """
    try:
        settings = _asked.get((name, declared)) or _ask_openssh(name, declared)
    except FileNotFoundError:
        settings = _ask_paramiko(name, declared)
    return _endpoint(name, settings)


def _ask_openssh(name: str, declared: Declared) -> Settings:
    with _config_of_other_home() as source:
        command = _question(name, declared, source)
        try:
            asked = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_SECONDS
            )
        except subprocess.TimeoutExpired:
            found = f"no answer within {TIMEOUT_SECONDS} s; see Match exec in the configuration"
            raise paramiko.SSHException(f"ssh -G {name}: {found}") from None
    if asked.returncode:
        said = asked.stderr.strip() or f"exit status {asked.returncode}"
        said = said.replace(source[-1], OWN_CONFIG) if source else said
        raise paramiko.SSHException(f"ssh -G {name}: {said}")
    return _settings(asked.stdout)


def _question(name: str, declared: Declared, source: list[str]) -> list[str]:
    return ["ssh", *source, "-G", *declared.options(), "--", name]


def _settings(said: str) -> Settings:
    settings: Settings = {}
    for line in said.splitlines():
        key, _, value = line.partition(" ")
        settings.setdefault(key, []).append(value)
    return settings


@contextmanager
def _config_of_other_home() -> Iterator[list[str]]:
    """OpenSSH takes the home directory of the user, whatever HOME says; this project takes HOME.

    A file that OpenSSH is told of takes the place of that for all users of this machine, too.
    """
    if str(Path.home()) == _real_home():
        yield []
        return
    for_all = RELATIVE_INCLUDE.sub(rf"\g<1>{FOR_ALL_USERS.parent}/", _text(FOR_ALL_USERS))
    # whatever its encoding is: it stays
    with NamedTemporaryFile("w", encoding="latin-1") as file:
        file.write(f"{_text(Path(OWN_CONFIG).expanduser())}\nMatch all\n{for_all}")
        file.flush()
        yield ["-F", file.name]


def _text(config: Path) -> str:
    return config.read_text(encoding="latin-1") if config.is_file() else ""


def _real_home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return str(Path.home())


def _ask_paramiko(name: str, declared: Declared) -> Settings:
    """What paramiko understands of the configuration, where OpenSSH is not installed."""
    path = Path(OWN_CONFIG).expanduser()
    config = paramiko.SSHConfig.from_path(str(path)) if path.is_file() else paramiko.SSHConfig()
    found = config.lookup(name)
    settings = {key: value if isinstance(value, list) else [value] for key, value in found.items()}
    own = {"user": declared.user, "port": declared.port, "proxyjump": declared.jump}
    settings |= {key: [str(value)] for key, value in own.items() if value}
    if declared.jump:
        settings.pop("proxycommand", None)
    keys = settings.get("identityfile") or DEFAULT_KEYS
    settings["identityfile"] = [declared.key, *keys] if declared.key else keys
    return settings


def _endpoint(name: str, settings: Settings) -> Endpoint:
    def one(key: str, default: str = "") -> str:
        value = settings.get(key, [default])[0]
        return "" if value == "none" else value

    address = one("hostname", name)
    port = one("port", "22")
    user = one("user") or pwd.getpwuid(os.getuid()).pw_name
    alias = one("hostkeyalias")
    known_as = alias or (address if port == "22" else f"[{address}]:{port}")
    tokens = {
        **{"%": "%", "h": address, "n": name, "p": port, "r": user, "k": alias or name},
        **{"d": str(Path.home()), "i": str(os.getuid()), "j": one("proxyjump")},
        **{"l": socket.gethostname(), "L": socket.gethostname().partition(".")[0]},
        "u": pwd.getpwuid(os.getuid()).pw_name,
    }

    def paths(key: str, default: list[str] | None = None) -> tuple[str, ...]:
        return tuple(_path(value, tokens) for value in settings.get(key, default or []))

    known = [
        *settings.get("userknownhostsfile", DEFAULT_KNOWN_HOSTS),
        *settings.get("globalknownhostsfile", GLOBAL_KNOWN_HOSTS),
    ]
    return Endpoint(
        address=address,
        port=int(port),
        user=user,
        keys=paths("identityfile"),
        certificates=paths("certificatefile"),
        only_these_keys=one("identitiesonly") == "yes",
        agent=_agent(settings.get("identityagent", ["SSH_AUTH_SOCK"])[0], tokens),
        jump=one("proxyjump") or None,
        proxy_command=_expand(one("proxycommand"), tokens) or None,
        proxy_passes_socket=one("proxyusefdpass") == "yes",
        known_hosts=tuple(
            _path(path, tokens) for text in known for path in _words(text) if path != "none"
        ),
        known_hosts_command=tuple(
            _expand(word, tokens | {"H": known_as, "I": "ORDER"} | dict.fromkeys("Kft", "NONE"))
            for word in _words(one("knownhostscommand"))
        ),
        known_as=alias or None,
        accept_new=one("stricthostkeychecking") in ACCEPT_NEW,
        revoked_host_keys=_path(one("revokedhostkeys"), tokens) if one("revokedhostkeys") else None,
        accepts_old_rsa="ssh-rsa" in one("hostkeyalgorithms").split(","),
        trusts_loopback=one("nohostauthenticationforlocalhost") == "yes",
        family=FAMILIES.get(one("addressfamily"), socket.AF_UNSPEC),
        bind_address=one("bindaddress") or None,
        connect_timeout_seconds=int(one("connecttimeout") or 0) or CONNECT_SECONDS,
        keepalive_seconds=int(one("serveraliveinterval", "0")) or KEEPALIVE_SECONDS,
        control_path=one("controlpath") or None,
        uses_kerberos=one("gssapiauthentication") == "yes",
    )


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        # OpenSSH prints paths without quotes around them, also those with a quote in them
        return text.split()


def _expand(text: str, tokens: dict[str, str]) -> str:
    return re.sub(r"%(.)", lambda match: tokens.get(match[1], match[0]), text)


def _path(text: str, tokens: dict[str, str]) -> str:
    """A path as OpenSSH means it, with the home directory that HOME names."""
    path = os.path.expandvars(_expand(text.strip('"'), tokens))
    own = f"{_real_home()}/.ssh/"
    if path.startswith(own):
        path = f"~/.ssh/{path.removeprefix(own)}"
    return str(Path(path).expanduser())


def _agent(text: str, tokens: dict[str, str]) -> str | None:
    if text == "none":
        return None
    if text == "SSH_AUTH_SOCK":
        return os.environ.get(text)
    return _path(os.environ.get(text[1:], "") if text[:1] == "$" else text, tokens)
