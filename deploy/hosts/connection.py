"""What an operator does about a connection that fails."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from paramiko import SSHException

from deploy.hosts.control_master import KERBEROS, OPEN
from deploy.hosts.ssh import TOO_LONG, address_of, declared_of, find_endpoint
from deploy.hosts.ssh_config import Endpoint
from deploy.hosts.ssh_keys import NOT_SIGNED
from deploy.hosts.ssh_proxy import ENDED
from deploy.hosts.ssh_shell import NO_COMMANDS, NO_COMMANDS_FIX
from deploy.spec import HostSpec

SERVER = re.compile(r"server '(?P<name>[^']+)'")
ONE_MORE_WAY = {
    "kex": "KexAlgorithms +curve25519-sha256",
    "host key": (
        "HostKeyAlgorithms +ssh-ed25519 with such a key (ssh-keygen -A), or let ssh accept what an"
        " old server has: HostKeyAlgorithms +ssh-rsa in ~/.ssh/config"
    ),
    "ciphers": "Ciphers +aes256-gcm@openssh.com",
    "macs": "MACs +hmac-sha2-512-etm@openssh.com",
    "": "KexAlgorithms, Ciphers or MACs",
}
"""By what paramiko says that it found nothing in common in."""


def explain(message: str, host: HostSpec) -> str:
    """How to fix a connection, by what the SSH client says of it; empty if that is not known."""
    if host.is_local:
        return ""
    wrong = f"correct ~/.ssh/config until this works: ssh -G {host.address or host.name}"
    if "ssh_key" in message:
        return "declare the path of a key, e.g. ssh_key='~/.ssh/id_ed25519'"
    if message.startswith("ssh -G "):
        return wrong
    try:
        target = find_endpoint(host)
    except SSHException:
        return wrong
    fixes = _fixes(message, host, target)
    return next((fix for said, fix in fixes.items() if re.search(said, message)), "")


def _fixes(message: str, host: HostSpec, target: Endpoint) -> dict[str, str]:
    """What to do, by a pattern of what the SSH client says; the first that is found counts."""
    log_in, copy_key = (_command(program, host) for program in ("ssh", "ssh-copy-id"))
    return {
        NO_COMMANDS: NO_COMMANDS_FIX,
        TOO_LONG: "let OpenSSH's server (openssh-server) answer there, or on a port of its own",
        r"No host key for|not found in known_hosts": (
            f"log in once, compare the key that is shown with the one on the host's console, and "
            f"say yes: {log_in}; or declare ssh_host_keys='accept-new' for a network you trust"
        ),
        r"does not match|host key error": (
            f"if the host was reinstalled, remove its old key: {_forget(message, target)}; if"
            " not, another machine answers in its place"
        ),
        r"resolve|Name or service|gaierror|nodename nor": (
            f"check the spelling of {target.address}, or declare address='...' for the host"
        ),
        f"{re.escape(OPEN)}|{re.escape(KERBEROS)}": (
            f"log in with a key, which this program needs; ssh gets it there: {copy_key}."
            " Through a jump host, an open connection is enough"
        ),
        ENDED: (
            f"see what it printed, and correct it until this works: {log_in}; ProxyCommand in"
            " ~/.ssh/config says what is run"
        ),
        r"was revoked": (
            "give the host new keys: remove /etc/ssh/ssh_host_*, then run ssh-keygen -A and restart"
            " its SSH server. @revoked in known_hosts or RevokedHostKeys says that the old one is"
            " not to be trusted"
        ),
        r"RevokedHostKeys": "correct that path in ~/.ssh/config, or let this user read the file",
        NOT_SIGNED: (
            "unlock the agent, plug in the card or touch it, or say yes where the agent asks; then"
            f" try: {log_in}"
        ),
        r"wanted besides": (
            f"let {target.user} in with a key alone, at least from this machine: "
            "AuthenticationMethods publickey in a Match block of the host's sshd_config"
        ),
        r"Authentication|No authentication methods|PasswordRequired": (
            f"try: {log_in}; declare ssh_user and ssh_key, unlock a key that has a passphrase "
            f"(ssh-add), or copy your key there: {copy_key}"
        ),
        **{
            rf"Incompatible ssh.*{found}": (
                f"allow one more way in the host's sshd_config: {setting}; this program knows none "
                "of those that are allowed"
            )
            for found, setting in ONE_MORE_WAY.items()
        },
        r"refused": (
            f"nothing answers on port {target.port}: start the SSH server there, "
            "or declare ssh_port"
        ),
        r"timed out|unreachable|No route": (
            f"{target.address} is switched off, or a firewall blocks the way:"
            " declare ssh_jump for a host that is reached through another one"
        ),
        r"banner|EOF": f"what answers on port {target.port} is no SSH server, or it is overloaded",
        r"open failed|[Aa]dministratively|Unable to open channel": (
            f"the jump host {target.jump} does not let you through to {target.address}: "
            "see AllowTcpForwarding in its sshd_config"
        ),
    }


def _command(program: str, host: HostSpec) -> str:
    """A program of OpenSSH with what is declared; the rest is in its configuration."""
    declared = declared_of(host)
    options = {
        "-p": declared.port,
        "-o": declared.jump and f"ProxyJump={declared.jump}",
        "-i": declared.key,
    }
    given = [text for name, value in options.items() if value for text in (name, str(value))]
    name = address_of(host)
    return shlex.join([program, *given, f"{declared.user}@{name}" if declared.user else name])


def _forget(message: str, target: Endpoint) -> str:
    """The command that removes a host's old key from where it stands."""
    at_port = target.address if target.port == 22 else f"[{target.address}]:{target.port}"
    # that of a jump host may be the one that changed
    named = SERVER.search(message)
    known = named["name"] if named else target.known_as or at_port
    files = target.known_hosts[:1]
    is_usual = files == (str(Path("~/.ssh/known_hosts").expanduser()),)
    return shlex.join(["ssh-keygen", "-R", known, *(() if is_usual else ("-f", *files))])
