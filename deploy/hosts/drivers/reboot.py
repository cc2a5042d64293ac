"""Whether a host must be restarted before its driver works, from what it is like alone."""

from __future__ import annotations

import re

from deploy.hosts.drivers.state import DriverState


def reboot_reason(state: DriverState, *, installs: bool, branch: str = "") -> str:
    """Why; empty if it need not.

    Args:
        state: what the host is like.
        installs: whether packages of the driver are still to be installed.
        branch: of those.
    """
    nvidia = state.nvidia
    if "nouveau" in state.loaded:
        return "the module nouveau is loaded, and keeps NVIDIA's from the cards"
    if nvidia.loaded_version and installs:
        return f"module {nvidia.loaded_version} is loaded, and branch {branch} is installed"
    newest = nvidia.disk_version or nvidia.library_version
    if nvidia.loaded_version and newest and newest != nvidia.loaded_version:
        return f"module {nvidia.loaded_version} is loaded, and {newest} is installed"
    if nvidia.loaded_version and nvidia.library_version not in {"", nvidia.loaded_version}:
        return (
            f"module {nvidia.loaded_version} is loaded, and its libraries are of "
            f"{nvidia.library_version}"
        )
    runs = kernel_numbers(state.kernel)
    newer = [kernel for kernel in nvidia.module_kernels if kernel_numbers(kernel) > runs]
    if not nvidia.loaded_version and not nvidia.disk_version and newer and not installs:
        # the newest kernel is the one that a restart brings
        newest = max(newer, key=kernel_numbers)
        return f"there is a module for kernel {newest}, and {state.kernel} runs"
    return ""


def kernel_numbers(kernel: str) -> list[int]:
    """A kernel's version to compare, e.g. 6, 1, 0, 56."""
    return [int(part) for part in re.findall(r"\d+", kernel)]


def is_in_window(window: str | None, time: str) -> bool:
    """Whether a host may be restarted now.

    Args:
        window: e.g. ``22:00-05:00``; ``None`` for any time.
        time: of the host, e.g. ``23:15``.
    """
    if window is None:
        return True
    start, end = window.split("-")
    return start <= time < end if start <= end else time >= start or time < end
