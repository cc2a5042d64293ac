"""Macs are set up before engines start on them."""

from pyinfra import host

from deploy.artefacts import Artefacts
from deploy.operations import mac


def set_up(deployment: Artefacts) -> None:
    """Sleep, memory of the GPU and logs, on hosts with macOS."""
    spec = deployment.host(host.name)
    if spec.is_mac:
        mac.set_up(name="Set up the Mac", spec=spec)
