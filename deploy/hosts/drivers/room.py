"""Room that the installation of a driver needs, looked at before it begins."""

from __future__ import annotations

from deploy.errors import HostError, Problem
from deploy.hosts.drivers.state import DriverState
from deploy.units import GIB, MIB

INITRAMFS_BYTES = 256 * MIB
"""Room that a new initial file system of the kernel may take in /boot while it is made."""
BUILT_BYTES = 3 * GIB
"""In /usr, where the module is built: compiler, headers and driver take 1.3 GB on Debian 12
(measured), and the build half of that again while it goes on."""
READY_BYTES = GIB
"""In /usr, where it comes built."""


def refuse_without_room(state: DriverState, *, builds: bool) -> None:
    """Refuse an installation that would stop half-way.

    Args:
        state: what the host is like.
        builds: whether the module is built on the host.

    Raises:
        HostError: with what is missing, and what to do.
    """
    problems = []
    boot, usr = state.boot_free_bytes, state.usr_free_bytes
    if boot is not None and boot < INITRAMFS_BYTES:
        problems.append(
            Problem(
                "driver",
                f"{boot // MIB} MiB free in /boot",
                f"{INITRAMFS_BYTES // MIB} MiB, for the kernel's initial file system",
                "remove old kernels: sudo apt-get autoremove --purge; dnf remove --oldinstallonly",
            )
        )
    needed = BUILT_BYTES if builds else READY_BYTES
    if usr is not None and usr < needed:
        what = "compiler, headers and the driver" if builds else "the driver"
        problems.append(
            Problem(
                "driver",
                f"{usr // MIB} MiB free in /usr",
                f"{needed // MIB} MiB, for {what}",
                "see what takes the room: du -xsh /usr/* /var/* | sort -h; sudo apt-get clean",
            )
        )
    if problems:
        raise HostError(*problems)
