"""Generated secrets are kept on this machine before they are used."""

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.operations import secret_file
from deploy.tasks.once import is_first


def keep(deployment: Artefacts) -> None:
    """Write what was generated into the file of secrets, and its fingerprint onto the host."""
    secret_file.kept(
        name="Keep generated secrets",
        secrets=deployment.secrets,
        directory=deployment.context.directory(host.name),
        is_first=is_first(),
    )
