"""The file of generated secrets on this machine, and its fingerprint on the hosts."""

from __future__ import annotations

from pathlib import PurePosixPath

from pyinfra.api import FunctionCommand, QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploy.changes.change import Change
from deploy.errors import SecretError
from deploy.operations import known_secrets
from deploy.operations.change import announce, announce_all
from deploy.operations.commands import Commands, show_failure
from deploy.operations.lock import changes_host
from deploy.secrets import SecretStore
from deploy.secrets.fingerprint import FILE, make_fingerprint


@changes_host
def kept(secrets: SecretStore, directory: PurePosixPath, *, is_first: bool) -> Commands:
    """Generated secrets are kept before any container is given one, and the host knows which.

    Args:
        secrets: the secrets of the deployment.
        directory: the deployment's own directory on the host.
        is_first: whether this host announces what happens on this machine, once for all hosts.
    """
    known, wanted = known_secrets.recall().text, make_fingerprint(secrets)
    path = directory / FILE
    if secrets.made_up and is_first:
        names = ", ".join(secrets.made_up)
        announce(Change(f"secrets {secrets.path}", f"generate {names} in"))
    if secrets.issued and is_first:
        resource = f"secrets {secrets.path}"
        announce_all(Change(resource, f"make {made}, and keep it in") for made in secrets.issued)
    if known != wanted:
        announce(Change(f"file {path}", "update" if known else "create"))
    if secrets.made_up or secrets.issued:
        # by whichever host is first: no host may know secrets that are kept nowhere
        yield FunctionCommand(_save, (secrets,), {})
    if known != wanted:
        yield _write(path, wanted)


def _write(path: PurePosixPath, text: str) -> StringCommand:
    new = QuoteString(f"{path}.new")
    return StringCommand(
        *("umask 022; mkdir -p", QuoteString(str(path.parent)), "&&"),
        *("cat >", new, "&&", "mv", new, QuoteString(str(path))),
        _stdin=text,
    )


def _save(state: State, host: Host, secrets: SecretStore) -> bool:  # noqa: ARG001
    try:
        secrets.save()
    except SecretError as error:
        show_failure(host, str(error))
        return False
    return True
