"""How the container of a replica reaches its GPUs."""

from __future__ import annotations

from typing import Any

from deploy.plan.deployment_plan import HostPlan
from deploy.plan.replica_plan import ReplicaPlan
from deploy.services.container import NO_DUMPS, ContainerSpec

RENDER_DEVICES = ("/dev/dri",)
AMD_DEVICES = ("/dev/kfd", *RENDER_DEVICES)
CONTROL = "/dev/nvidiactl"
DEVICE = "nvidia.com/gpu="
"""What the CDI names of NVIDIA's cards begin with; the index of ``nvidia-smi`` follows."""


LOST = "no GPU: the container may not open /dev/nvidiactl any more, a restart gives it back"
DRIVER_ANSWERS = (
    f"[ ! -e {CONTROL} ] || {{ true <{CONTROL}; }} 2>/dev/null || {{ echo '{LOST}'; exit 1; }}"
)
"""Shell: the driver lets the container open its first device; no process is started for it.

A reload of systemd takes the devices from containers that have them by the toolkit's hook, and an
engine then goes on without them, or not at all; a restarted container has them again:
https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
"""


def gpu_access(replica: ReplicaPlan, host: HostPlan) -> dict[str, Any]:
    """Fields of the container; none on a CPU."""
    if not replica.gpus:
        return {}
    if replica.gpu_vendor == "amd":
        return {"devices": AMD_DEVICES, "group_add": host.gpu_groups}
    if host.gpu_runtime == "cdi":
        return {"devices": tuple(f"{DEVICE}{gpu}" for gpu in replica.gpu_ids)}
    # the toolkit's runtime and CDI both call the second instance of GPU 0 0:1
    return {"gpus": tuple(gpu if ":" in gpu else int(gpu) for gpu in replica.gpu_ids)}


def cards_of(container: ContainerSpec) -> tuple[int, ...]:
    """Indices of the cards that a container is given; -1 for all of AMD's."""
    named = [name.removeprefix(DEVICE) for name in container.devices if name.startswith(DEVICE)]
    # an instance of a card that is divided is named after the card: 0:1
    cards = {card_of(gpu) for gpu in [*container.gpus, *named]}
    if not cards and set(AMD_DEVICES) & set(container.devices):
        return (-1,)
    return tuple(sorted(cards))


def card_of(gpu: int | str) -> int:
    """Index of the card that a GPU is, or that an instance is part of."""
    return int(str(gpu).partition(":")[0])


def capabilities(replica: ReplicaPlan) -> tuple[str, ...]:
    """What vLLM and SGLang may do.

    On CPUs: bind memory to the NUMA node of the cores that use it. On AMD's GPUs: what their
    documentation gives them, vLLM's docs/getting_started/installation/gpu.rocm.inc.md and
    SGLang's docs/docs/hardware-platforms/amd_gpu.mdx.
    """
    if replica.cpu:
        return ("SYS_NICE",)
    return ("SYS_PTRACE",) if replica.gpu_vendor == "amd" else ()


def security_options(replica: ReplicaPlan) -> tuple[str, ...]:
    """How vLLM and SGLang are confined.

    On AMD's GPUs without the filter of system calls, which keeps ROCm from mapping memory:
    https://rocm.docs.amd.com/projects/install-on-linux/en/latest/how-to/docker.html.
    """
    unfiltered = ("seccomp=unconfined",) if replica.gpu_vendor == "amd" else ()
    return ("no-new-privileges", *unfiltered)


def worker_access(replica: ReplicaPlan, host: HostPlan) -> dict[str, Any]:
    """Fields of a container whose processes, one for each GPU, share memory."""
    engine = replica.engine
    return {
        "cap_add": capabilities(replica),
        "security_opt": security_options(replica),
        "ipc": "host" if engine.ipc == "host" else "",
        "shm_size_bytes": 0 if engine.ipc == "host" else engine.shm_size,
        # pinned memory is for copies to GPUs
        "ulimits": NO_DUMPS | ({} if replica.cpu else {"memlock": -1, "stack": 67108864}),
        **gpu_access(replica, host),
    }


def gpu_variables(replica: ReplicaPlan) -> dict[str, str]:
    """Which GPUs, and in which order."""
    return {
        # as nvidia-smi counts them, where cards of several kinds are in one machine
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        **visible_devices(replica, "HIP_VISIBLE_DEVICES"),
    }


def visible_devices(replica: ReplicaPlan, variable: str) -> dict[str, str]:
    """AMD: every GPU's device is in the container, so a variable says which ones to use."""
    if replica.gpu_vendor != "amd":
        return {}
    return {variable: ",".join(map(str, replica.gpus))}


def checked(replica: ReplicaPlan, command: str) -> str:
    """A health command that asks NVIDIA's driver as well, where the replica has its cards.

    Args:
        replica: what is checked.
        command: whether it answers.
    """
    has_nvidia = replica.gpus and replica.gpu_vendor != "amd"
    return f"{DRIVER_ANSWERS}; {command}" if has_nvidia else command


def image_name(replica: ReplicaPlan, name: str) -> str:
    """The image for the GPU's vendor."""
    return f"{name}-rocm" if replica.gpu_vendor == "amd" else name


def gpu_shares(replica: ReplicaPlan) -> dict[int, float]:
    """Share of each GPU's memory that the replica takes."""
    return dict.fromkeys(replica.gpus, replica.gpu_memory_utilization or 1.0)
