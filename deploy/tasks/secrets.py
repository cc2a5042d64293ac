"""Generated secrets are kept on this machine before they are used."""

from deploy.artefacts import Artefacts
from deploy.operations import secret_file


def keep(deployment: Artefacts) -> None:
    """Write what was generated into the file of secrets, once for all hosts."""
    secret_file.kept(name="Keep generated secrets", secrets=deployment.secrets, _run_once=True)
