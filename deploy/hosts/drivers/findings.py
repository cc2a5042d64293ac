"""What is wrong with the drivers of a host, each state with its fix."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.hosts.drivers.choice import SECURE_BOOT_WAYS
from deploy.hosts.drivers.reboot import reboot_reason
from deploy.hosts.drivers.specification import why_outdated
from deploy.hosts.drivers.state import DriverState
from deploy.hosts.finding import Finding
from deploy.hosts.state import Gpu, GpuState
from deploy.spec import HostSpec

RESTART = "restart the host: sudo systemctl reboot"
MANAGE = "declare driver=Driver() for the host, and the deployment installs it; or install it"
FABRIC = "nvidia-fabricmanager"
FULL_SHARE = 0.95
"""Of its usual power a card is held to less below this."""


def broken_driver(state: DriverState) -> tuple[str, str]:
    """Why NVIDIA's driver does not work, and the fix; empty where that is not known.

    Args:
        state: a host whose nvidia-smi fails, or that has none.
    """
    causes = (*_of_packages(state), *_of_the_loaded_module(state), *_of_the_module(state))
    return next(iter(causes), ("", ""))


def _of_packages(state: DriverState) -> Iterator[tuple[str, str]]:
    if state.nvidia.xids:
        yield (
            f"a card has failed: {state.nvidia.xids[0]}",
            "restart the host; if it comes again, see to power, seat and cooling of the card: "
            "https://docs.nvidia.com/deploy/xid-errors/",
        )
    broken = " ".join(name for name, package in state.packages.items() if package.is_broken)
    if broken and state.dkms_errors:
        said = "; ".join(state.dkms_errors[:2])
        yield (
            f"the module could not be built for kernel {state.kernel}: {said}",
            f"remove what is half installed, so that apt works: sudo apt-get remove {broken}; "
            "and take a newer version, which declaring driver=Driver() for the host does",
        )
    elif broken:
        yield f"half installed: {broken}", "sudo dpkg --configure -a"


def _of_the_loaded_module(state: DriverState) -> Iterator[tuple[str, str]]:
    nvidia = state.nvidia
    if nvidia.loaded_version and nvidia.library_version not in {"", nvidia.loaded_version}:
        yield (
            f"module {nvidia.loaded_version} is loaded, its libraries are {nvidia.library_version}:"
            " containers that run go on, the next one fails",
            RESTART,
        )
    if "nouveau" in state.loaded:
        yield (
            "the module nouveau is loaded, and keeps NVIDIA's from the card",
            f"{MANAGE}; then {RESTART}",
        )


def _of_the_module(state: DriverState) -> Iterator[tuple[str, str]]:
    nvidia = state.nvidia
    if not nvidia.loaded_version and nvidia.disk_version and state.secure_boot:
        yield (
            f"Secure Boot refuses the module {nvidia.disk_version}: its signature is none"
            " that the firmware trusts",
            SECURE_BOOT_WAYS,
        )
    if reason := reboot_reason(state, installs=False):
        yield reason, RESTART
    if not nvidia.disk_version and not nvidia.loaded_version and nvidia.module_kernels:
        kernels = ", ".join(sorted(nvidia.module_kernels))
        package = "kernel-devel" if state.system.is_like("rhel", "fedora") else "linux-headers"
        yield (
            f"there are modules for other kernels ({kernels}), and none for {state.kernel}",
            f"install {package}-{state.kernel}, and run: sudo dkms autoinstall",
        )
    if nvidia.disk_version and not nvidia.loaded_version:
        yield f"module {nvidia.disk_version} is not loaded", "sudo modprobe nvidia; see dmesg"
    if not nvidia.disk_version and not nvidia.loaded_version:
        yield "there is no driver", MANAGE


def driver_findings(spec: HostSpec, state: DriverState, gpus: GpuState) -> Iterator[Finding]:
    """What is to be said apart from cards and versions, where NVIDIA's driver works.

    Args:
        spec: the host as declared.
        state: what it is like.
        gpus: its cards, as their drivers report them.
    """
    if gpus.driver_status == 0 and state.nvidia_cards:
        yield from _fabric(state)
        yield from _toolkit(spec, state)
        yield from _iommu(state)
        for gpu in gpus.gpus:
            yield from _settings(gpu, is_limited=spec.power_limit_watts is not None)


def _fabric(state: DriverState) -> Iterator[Finding]:
    if not state.has_fabric:
        return
    version = state.fabric_manager
    service = state.services.get(FABRIC, "")
    if not version:
        switches = f"{state.nvswitches} NVSwitch bridges" if state.nvswitches else "NVSwitches"
        found = f"{switches} and no fabric manager"
        fix = f"{MANAGE} in the driver's version, {state.nvidia.loaded_version}"
    elif state.nvidia.loaded_version not in version:
        found = f"fabric manager {version}, driver {state.nvidia.loaded_version}"
        fix = "install both in exactly the same version, and restart nvidia-fabricmanager"
    elif state.has_subnet_manager and "nvlsm" not in state.packages:
        found = "NVSwitches of the fourth generation and no NVLink Subnet Manager (nvlsm)"
        fix = f"{MANAGE} and infiniband-diags"
    elif not service.endswith(" active"):
        found = f"nvidia-fabricmanager is {service.rpartition(' ')[2] or 'not running'}"
        fix = "sudo systemctl restart nvidia-fabricmanager; see journalctl -u nvidia-fabricmanager"
    else:
        yield Finding("GPU fabric", "ok", f"fabric manager {version}")
        return
    allowed = "a fabric manager that runs: without it CUDA ends with error 802"
    yield Finding("GPU fabric", "problem", found, allowed, fix)


def _toolkit(spec: HostSpec, state: DriverState) -> Iterator[Finding]:
    toolkit = state.toolkit
    if not spec.gpus:
        return
    if not toolkit.version:
        yield Finding(
            "GPU containers",
            "warning",
            "nvidia-ctk is not there",
            "NVIDIA's container toolkit",
            f"{MANAGE}: https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/",
        )
        return
    if toolkit.is_newer_than_docker and not spec.uses_cdi:
        yield Finding(
            "GPU containers",
            "problem",
            "the container toolkit was installed after Docker started, which does not know it",
            fix="sudo systemctl restart docker",
        )
    if spec.uses_cdi:
        yield from _specification(state)


def _specification(state: DriverState) -> Iterator[Finding]:
    devices = ", ".join(state.toolkit.devices)
    if reason := why_outdated(state):
        allowed = "a CDI specification of the cards, made for the driver that is loaded"
        fix = "sudo nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml"
        yield Finding("GPU containers", "problem", reason, allowed, fix)
    elif "nvidia-cdi-refresh" not in state.services:
        yield Finding(
            "GPU containers",
            "warning",
            f"CDI: {devices}; nothing renews the specification after a restart or a new driver",
            "nvidia-cdi-refresh.service, which the toolkit has since 1.18",
            "upgrade the container toolkit, or declare gpu_runtime='nvidia' for the host",
        )
    else:
        yield Finding("GPU containers", "ok", f"CDI: {devices}")


def _iommu(state: DriverState) -> Iterator[Finding]:
    if len(state.nvidia_cards) > 1 and state.iommu not in {"", "identity"}:
        yield Finding(
            "GPU IOMMU",
            "warning",
            f"the IOMMU translates ({state.iommu}): NCCL may hang between cards without NVLink",
            fix="boot with iommu=pt, or set NCCL_P2P_DISABLE=1 for the engine",
        )


def _settings(gpu: Gpu, *, is_limited: bool) -> Iterator[Finding]:
    if gpu.vendor != "nvidia":
        return
    if gpu.ecc_pending not in {None, gpu.ecc}:
        yield Finding(
            "GPU settings",
            "warning",
            f"{gpu.name}: ECC is {_on(gpu.ecc)}, and {_on(gpu.ecc_pending)} after a restart",
            fix=RESTART,
        )
    if gpu.compute_mode not in {"", "Default", "[N/A]"}:
        yield Finding(
            "GPU settings",
            "warning",
            f"{gpu.name}: compute mode {gpu.compute_mode}: only one process at a time may use it",
            fix="sudo nvidia-smi -c DEFAULT",
        )
    if gpu.persistence is False:
        yield Finding(
            "GPU settings",
            "warning",
            f"{gpu.name}: persistence is off, the first request after a pause takes longer",
            fix="sudo systemctl enable --now nvidia-persistenced",
        )
    usual, limit = gpu.default_power_watts, gpu.power_watts
    if usual and limit and limit < usual * FULL_SHARE and not is_limited:
        yield Finding(
            "GPU settings",
            "warning",
            f"{gpu.name}: limited to {limit:.0f} of {usual:.0f} W; estimated speeds ignore that",
        )


def _on(value: bool | None) -> str:
    return "on" if value else "off"
