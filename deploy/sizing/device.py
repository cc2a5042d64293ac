"""The figures of a GPU that sizing needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deploy.catalog import Gpu, MigCard
from deploy.catalog.gpus import TORCH_SHARE

LARGE_GPU_GIB = 70
"""From this size vLLM takes larger defaults (EngineArgs.get_batch_defaults)."""


@dataclass(frozen=True)
class Device:
    """One GPU, or the weakest figures of several."""

    name: str
    """Catalogue id, or several."""
    vendor: str
    """``nvidia``, ``amd``, ``apple`` or ``cpu``."""
    usable_gib: float
    """Memory that the engine sees."""
    bandwidth_bytes_per_second: float
    """Memory bandwidth; 0 where unknown."""
    flops_per_second: float
    """Dense compute in 16 bits; 0 where unknown."""
    compute_capability: tuple[int, int]
    """NVIDIA's; (0, 0) for others."""
    gfx: str = ""
    """AMD's instruction set."""
    supports_fp8: bool = False
    """Whether it computes in FP8."""
    link_bytes_per_second: float = 0.0
    """NVLink or Infinity Fabric, one direction; 0 for PCIe only."""
    instance: str = ""
    """Profile of the instance (MIG), of a GPU that is divided; it works with no other one."""

    @property
    def has_link(self) -> bool:
        """Whether there is a faster way between GPUs than PCIe."""
        return self.link_bytes_per_second > 0

    @property
    def takes_large_batches(self) -> bool:
        """Whether vLLM starts with its larger defaults: 70 GiB and more, A100 excepted."""
        return self.usable_gib >= LARGE_GPU_GIB and "a100" not in self.name

    @property
    def is_hopper_or_later(self) -> bool:
        """Compute capability 9.0 and later data-centre chips."""
        return (9, 0) <= self.compute_capability < (12, 0)

    @property
    def is_data_centre_blackwell(self) -> bool:
        """Compute capability 10.x: B200 and B300."""
        return (10, 0) <= self.compute_capability < (12, 0)


def device_of(name: str, gpu: Gpu) -> Device:
    """The device that a catalogue entry describes."""
    capability = tuple(int(part) for part in (gpu.compute_capability or "0.0").split("."))
    flops = gpu.dense_tflops.fp16 or gpu.dense_tflops.bf16 or gpu.dense_tflops.fp32 or 0
    return Device(
        name=name,
        vendor=gpu.vendor,
        usable_gib=gpu.usable_memory_gib or 0.0,
        bandwidth_bytes_per_second=(gpu.memory_bandwidth_gb_per_second or 0) * 1e9,
        flops_per_second=flops * 1e12,
        compute_capability=(capability[0], capability[1]),
        gfx=gpu.gfx or "",
        supports_fp8=gpu.supports_fp8,
        link_bytes_per_second=gpu.interconnect_gb_per_second * 1e9 / 2,
    )


def instance_of(device: Device, profile: str, card: MigCard) -> Device:
    """An instance of a GPU that is divided: its part of memory, bandwidth and SMs.

    NCCL does not connect instances, so it has no link:
    https://docs.nvidia.com/datacenter/tesla/mig-user-guide/deployment-considerations.html
    """
    own = card.profiles[profile]
    return replace(
        device,
        name=f"{device.name} {profile}",
        usable_gib=round(own.memory_gib * TORCH_SHARE, 2),
        bandwidth_bytes_per_second=device.bandwidth_bytes_per_second
        * own.memory_slices
        / card.memory_slices,
        flops_per_second=device.flops_per_second * own.compute_slices / card.compute_slices,
        link_bytes_per_second=0.0,
        instance=profile,
    )


def weakest(devices: tuple[Device, ...]) -> Device:
    """What can be counted on from each of several: the engine gives every GPU the same share."""
    names = dict.fromkeys(device.name for device in devices)
    smallest = min(devices, key=lambda device: device.usable_gib)
    return Device(
        name=" + ".join(names),
        vendor=smallest.vendor,
        usable_gib=smallest.usable_gib,
        bandwidth_bytes_per_second=min(d.bandwidth_bytes_per_second for d in devices),
        flops_per_second=min(d.flops_per_second for d in devices),
        compute_capability=min(d.compute_capability for d in devices),
        gfx=smallest.gfx,
        supports_fp8=all(d.supports_fp8 for d in devices),
        link_bytes_per_second=min(d.link_bytes_per_second for d in devices),
        instance=smallest.instance,
    )
