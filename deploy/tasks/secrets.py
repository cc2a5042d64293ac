"""Generated secrets are kept on this machine before they are used."""

from deploy.artefacts import Artefacts
from deploy.operations import secret_file
from deploy.tasks.once import is_first


def keep(deployment: Artefacts) -> None:
    """Write what was generated into the file of secrets, once for all hosts."""
    if is_first():
        secret_file.kept(name="Keep generated secrets", secrets=deployment.secrets)
