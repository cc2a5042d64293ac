"""What an operator does about a connection that fails."""

from __future__ import annotations

import re

from paramiko import SSHException

from deploy.hosts.control_master import KERBEROS, OPEN
from deploy.hosts.ssh import TOO_LONG, find_endpoint
from deploy.hosts.ssh_config import Endpoint
from deploy.hosts.ssh_shell import NO_COMMANDS, NO_COMMANDS_FIX
from deploy.spec import HostSpec


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
    return next((fix for said, fix in _fixes(target).items() if re.search(said, message)), "")


def _fixes(target: Endpoint) -> dict[str, str]:
    """What to do, by a pattern of what the SSH client says; the first that is found counts."""
    at_port = target.address if target.port == 22 else f"[{target.address}]:{target.port}"
    known = target.known_as or at_port
    who = f"{target.user}@{target.address}"
    return {
        NO_COMMANDS: NO_COMMANDS_FIX,
        TOO_LONG: "let OpenSSH's server (openssh-server) answer there, or on a port of its own",
        r"No host key for|not found in known_hosts": (
            f"compare the key with the one on the host's console, then add it: "
            f"ssh-keyscan -p {target.port} {target.address} >> ~/.ssh/known_hosts; "
            "or declare ssh_host_keys='accept-new' for a network you trust"
        ),
        r"does not match|host key error": (
            f"if the host was reinstalled, remove its old key: ssh-keygen -R '{known}'; if"
            " not, another machine answers in its place"
        ),
        r"resolve|Name or service|gaierror|nodename nor": (
            f"check the spelling of {target.address}, or declare address='...' for the host"
        ),
        f"{re.escape(OPEN)}|{re.escape(KERBEROS)}": (
            f"log in with a key, which this program needs; ssh gets it there: ssh-copy-id -p"
            f" {target.port} {who}. Through a jump host, an open connection is enough"
        ),
        r"wanted besides": (
            f"let {target.user} in with a key alone, at least from this machine: "
            "AuthenticationMethods publickey in a Match block of the host's sshd_config"
        ),
        r"Authentication|No authentication methods|PasswordRequired": (
            f"try: ssh -p {target.port} {who}; declare ssh_user and ssh_key, unlock a key that has "
            f"a passphrase (ssh-add), or copy your key there: ssh-copy-id -p {target.port} {who}"
        ),
        r"Incompatible ssh": (
            "allow one more way in the host's sshd_config, e.g. KexAlgorithms "
            "+curve25519-sha256, Ciphers +aes256-gcm@openssh.com, MACs "
            "+hmac-sha2-512-etm@openssh.com: this program knows none of those that are allowed"
        ),
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
