"""The file of generated secrets on this machine."""

from __future__ import annotations

from pyinfra.api import FunctionCommand, operation
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploy.changes.change import Change
from deploy.operations.change import announce
from deploy.operations.commands import Commands
from deploy.secrets import SecretStore


@operation()
def kept(secrets: SecretStore) -> Commands:
    """Generated secrets are kept before any container is given one."""
    if secrets.generated:
        names = ", ".join(secrets.generated)
        announce(Change(f"secrets {secrets.path}", f"generate {names} in"))
        yield FunctionCommand(_save, (secrets,), {})


def _save(state: State, host: Host, secrets: SecretStore) -> bool:  # noqa: ARG001
    secrets.save()
    return True
