"""The CDI specification of a host's NVIDIA cards: what of the driver a container is given."""

from __future__ import annotations

from deploy.hosts.drivers.state import DriverState


def why_outdated(state: DriverState) -> str:
    """Why it must be written anew; empty if it is of the driver that works.

    The toolkit writes it when the host starts, when modules are loaded or change on disk, and when
    it is itself installed; where it did not, it is older than 1.18, or was stopped from it:
    https://github.com/NVIDIA/nvidia-container-toolkit/tree/main/deployments/systemd.
    """
    toolkit, loaded = state.toolkit, state.nvidia.loaded_version
    if not toolkit.devices:
        return "no CDI specification names an NVIDIA card"
    if loaded and toolkit.specification_version not in {"", loaded}:
        made_for = toolkit.specification_version
        return f"the CDI specification was made for driver {made_for}, {loaded} is loaded"
    return ""
