"""What ``ssh`` gets in with, and this program does not: open connections, and Kerberos.

Through a connection that ``ssh`` keeps open to a jump host (ControlMaster) it leads to the hosts
behind it, however it was logged in to: with a ticket, a password or a second factor. On a host
itself a login is needed all the same.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Collection

from deploy.hosts.ssh_config import Endpoint
from deploy.plan.addresses import host_and_port

OPEN = "a connection that is open already (ControlPath"
KERBEROS = "Kerberos (GSSAPIAuthentication)"
GSSAPI = {"gssapi-with-mic", "gssapi-keyex"}


def is_open(endpoint: Endpoint) -> bool:
    """Whether ``ssh`` has a connection open to a server."""
    if endpoint.control_path is None:
        return False
    with socket.socket(socket.AF_UNIX) as asked:
        try:
            asked.connect(endpoint.control_path)
        except OSError:
            return False
    return True


def command_through(hop: Endpoint, address: str, port: int) -> str:
    """Shell: standard input and output lead to a port, through the connection that is open.

    Args:
        hop: the server that it is open to.
        address: where the port is, as that server knows it.
        port: the port.
    """
    return shlex.join(
        [
            *("ssh", "-F", "none", "-S", str(hop.control_path), "-W", host_and_port(address, port)),
            *("-o", "BatchMode=yes", "-o", f"ConnectTimeout={hop.connect_timeout_seconds}"),
            *("-p", str(hop.port), "-l", hop.user, "--", hop.address),
        ]
    )


def ways_of_ssh(endpoint: Endpoint, allowed: Collection[str]) -> list[str]:
    """What else ``ssh`` may get into a server with.

    Args:
        endpoint: the server.
        allowed: the kinds of logins that it allows.
    """
    ways = [f"{OPEN} {endpoint.control_path})"] if is_open(endpoint) else []
    return [*ways, KERBEROS] if endpoint.uses_kerberos and GSSAPI & {*allowed} else ways
