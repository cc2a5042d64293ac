"""What is wrong with the driver of AMD's cards, each state with its fix."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.catalog import Catalog
from deploy.hosts.drivers.amd_choice import OTHER_KERNEL, SECURE_BOOT_WAYS, is_old, known_cards
from deploy.hosts.drivers.state import DriverState
from deploy.hosts.finding import Finding
from deploy.spec import HostSpec

RESTART = "restart the host: sudo systemctl reboot"
AMD_GFX = (
    *("gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1101"),
    *("gfx1150", "gfx1151", "gfx1200", "gfx1201"),
)
"""What the ROCm images of the engines are built for: vLLM's docker/Dockerfile.rocm_base."""
MANAGE = "declare driver=Driver() for the host, and the deployment installs it; or install it"


def broken_amd(state: DriverState, catalog: Catalog) -> tuple[str, str]:
    """Why programs cannot compute on AMD's cards, and the fix; empty if they can.

    Args:
        state: what the host is like.
        catalog: the first kernel of each card.
    """
    causes = (
        *_of_packages(state),
        *_of_the_module(state),
        *_of_the_loaded_module(state, catalog),
    )
    return next(iter(causes), ("", ""))


def _of_packages(state: DriverState) -> Iterator[tuple[str, str]]:
    broken = " ".join(name for name, package in state.packages.items() if package.is_broken)
    if broken and state.dkms_errors:
        yield (
            f"amdgpu could not be built for kernel {state.kernel}: "
            f"{'; '.join(state.dkms_errors[:2])}",
            f"remove what is half installed, so that apt works: sudo apt-get remove {broken}; and "
            "take a newer version of amdgpu-dkms, or a kernel that it is for",
        )
    elif broken:
        yield f"half installed: {broken}", "sudo dpkg --configure -a"


def _of_the_module(state: DriverState) -> Iterator[tuple[str, str]]:
    amd = state.amd
    if not amd.has_own_module and not amd.disk_version:
        fix = {
            "ubuntu": f"sudo apt-get install linux-modules-extra-{state.kernel}",
            "debian": OTHER_KERNEL,
        }.get(state.system.id, "install a kernel that has it, e.g. kernel-modules-extra")
        yield f"kernel {state.kernel} has no module amdgpu", fix
    if "amdgpu" in state.loaded:
        return
    if amd.disk_version and state.secure_boot:
        yield (
            f"Secure Boot refuses amdgpu-dkms {amd.disk_version}: its signature is none that the"
            " firmware trusts",
            SECURE_BOOT_WAYS,
        )
    yield (
        "the module amdgpu is not loaded",
        "sudo modprobe amdgpu; see dmesg, and whether it is on a blacklist: "
        "grep -r amdgpu /etc/modprobe.d",
    )


def _of_the_loaded_module(state: DriverState, catalog: Catalog) -> Iterator[tuple[str, str]]:
    amd = state.amd
    if amd.is_replaced:
        loaded = amd.loaded_version or "of the kernel"
        yield (
            f"amdgpu {loaded} is loaded, and another amdgpu-dkms, {amd.disk_version}, is installed",
            RESTART,
        )
    if amd.missing_firmware:
        yield (
            f"firmware is missing: {', '.join(amd.missing_firmware)}",
            "install firmware-amd-graphics (Debian, non-free-firmware) or linux-firmware, "
            f"and {RESTART}",
        )
    if not amd.has_kfd:
        old = [
            f"{gfx} wants kernel {first}"
            for gfx, card in known_cards(state, catalog).items()
            if (first := card.first_kernel_of(state.system.id))
            and not amd.loaded_version
            and is_old(state.kernel, first)
        ]
        if old:
            yield f"amdgpu of kernel {state.kernel} is too old: {', '.join(old)}", MANAGE
        yield (
            "amdgpu is loaded, and there is no /dev/kfd",
            "see dmesg | grep -e amdgpu -e kfd; a newer kernel, or amdgpu-dkms: "
            "https://instinct.docs.amd.com/projects/amdgpu-docs/",
        )
    elif not amd.gfx:
        yield (
            "/dev/kfd is there, and offers no GPU",
            "see dmesg | grep kfd: PCIe atomics must be on in the firmware, and passed on to a "
            "virtual machine",
        )


def amd_findings(spec: HostSpec, state: DriverState, catalog: Catalog) -> Iterator[Finding]:
    """What is to be said of AMD's cards that are there.

    Args:
        spec: the host as declared.
        state: what it is like.
        catalog: the first kernel of each card.
    """
    found, fix = broken_amd(state, catalog)
    if found:
        allowed = "an amdgpu that knows the card"
        yield Finding("GPU driver", "problem", found, allowed, fix)
    elif state.amd.gfx:
        driver = f"amdgpu-dkms {state.amd.loaded_version}" if state.amd.loaded_version else (
            f"amdgpu of kernel {state.kernel}"
        )  # fmt: skip
        yield Finding("GPU driver", "ok", f"{driver}: {', '.join(dict.fromkeys(state.amd.gfx))}")
    unknown = [gfx for gfx in state.amd.gfx if gfx not in AMD_GFX]
    if unknown:
        said = f"{', '.join(unknown)}: the ROCm images of the engines are not built for it"
        yield Finding("GPU driver", "problem", said, ", ".join(AMD_GFX))
    yield from amd_groups(spec, state)


def amd_groups(spec: HostSpec, state: DriverState) -> Iterator[Finding]:
    """Whether containers will be in the groups that own the devices of AMD's cards."""
    missing = state.amd.groups - {0, *spec.gpu_groups}
    if missing and spec.gpus:
        numbers = ", ".join(map(str, sorted(state.amd.groups - {0})))
        yield Finding(
            "GPU containers",
            "problem",
            f"/dev/kfd and /dev/dri belong to the groups {numbers}",
            f"what is declared: gpu_groups={spec.gpu_groups}",
            f"declare gpu_groups=({numbers},)",
        )
