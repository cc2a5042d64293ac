"""pyinfra reaches the hosts of a deployment as the other commands do.

The only module that replaces something inside pyinfra: the method of its SSH connector that makes
the client. What it takes for granted there is in tests/test_pyinfra_connection.py.
"""

from __future__ import annotations

from pyinfra.connectors.ssh import SSHConnector

from deploy.hosts.ssh import open_ssh
from deploy.spec import DeploymentSpec, HostSpec

_hosts: dict[str, HostSpec] = {}
_original = SSHConnector._connect


def connect_as_declared(spec: DeploymentSpec) -> None:
    """Connect so from now on, to the hosts of this deployment."""
    _hosts.update({host.name: host for host in spec.hosts})
    SSHConnector._connect = _connect  # type: ignore[method-assign, assignment]


def _connect(connector: SSHConnector) -> None:
    host = _hosts.get(connector.host.name)
    if host is None:
        _original(connector)
    else:
        # pyinfra uses what every client of paramiko has
        connector.client = open_ssh(host)  # type: ignore[assignment]
