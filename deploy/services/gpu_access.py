"""How the container of a replica reaches its GPUs."""

from __future__ import annotations

from typing import Any

from deploy.plan.deployment_plan import HostPlan, ReplicaPlan

AMD_DEVICES = ("/dev/kfd", "/dev/dri")


def gpu_access(replica: ReplicaPlan, host: HostPlan) -> dict[str, Any]:
    """Fields of the container; none on a CPU."""
    if not replica.gpus:
        return {}
    if replica.gpu_vendor == "amd":
        return {"devices": AMD_DEVICES, "group_add": host.gpu_groups}
    if host.gpu_runtime == "cdi":
        return {"devices": tuple(f"nvidia.com/gpu={index}" for index in replica.gpus)}
    return {"gpus": replica.gpus}


def visible_devices(replica: ReplicaPlan, variable: str) -> dict[str, str]:
    """AMD: every GPU's device is in the container, so a variable says which ones to use."""
    if replica.gpu_vendor != "amd":
        return {}
    return {variable: ",".join(map(str, replica.gpus))}


def image_name(replica: ReplicaPlan, name: str) -> str:
    """The image for the GPU's vendor."""
    return f"{name}-rocm" if replica.gpu_vendor == "amd" else name


def gpu_shares(replica: ReplicaPlan) -> dict[int, float]:
    """Share of each GPU's memory that the replica takes."""
    return dict.fromkeys(replica.gpus, replica.gpu_memory_utilization or 1.0)
