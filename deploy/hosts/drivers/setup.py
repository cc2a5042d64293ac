"""What must happen for a host to have the driver that is declared for it: pure.

What is there and serves is left alone, unless a branch, a version or a flavour is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from deploy.catalog import Catalog
from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.errors import HostError, Problem
from deploy.hosts.drivers.choice import Choice, choose, packages_of
from deploy.hosts.drivers.files import (
    APT_KEY,
    APT_SOURCE,
    DNF_KEY,
    DNF_SOURCE,
    MODPROBE,
    wanted_files,
)
from deploy.hosts.drivers.host_setup import (
    NVIDIA_DRIVER,
    HostSetup,
    Step,
    file_setup,
    hold_setup,
    unit_setup,
)
from deploy.hosts.drivers.needs import Needs
from deploy.hosts.drivers.reboot import reboot_reason
from deploy.hosts.drivers.room import refuse_without_room
from deploy.hosts.drivers.state import FABRIC_MANAGERS, DriverState
from deploy.hosts.drivers.toolkit import toolkit_setup
from deploy.spec import HostSpec
from deploy.spec.driver import DriverSpec


@dataclass(frozen=True)
class Installed:
    """What of a choice is there already."""

    missing: tuple[str, ...]
    """Packages that are absent, or of another version."""
    broken: tuple[str, ...]
    """Packages that an installation left half done."""
    leaving: tuple[str, ...]
    """Packages of another branch or flavour, which cannot stay next to it."""


def driver_setup(
    spec: HostSpec, state: DriverState, needs: Needs, catalog: Catalog, today: str
) -> HostSetup:
    """What to do about the driver and the container toolkit of a host.

    Args:
        spec: the host as declared.
        state: what it is like.
        needs: what its cards and its images want.
        catalog: branches and packages.
        today: a date, e.g. ``2026-11-28``.

    Raises:
        HostError: if it cannot be done.
    """
    driver = spec.driver
    if driver is None:
        return HostSetup()
    if not state.nvidia_cards:
        raise HostError(_no_card(state))
    setup = _driver(driver, state, needs, catalog, today)
    loads = any(step.arguments == ("load",) for step in setup.steps)
    will_serve = not setup.reboot and (loads or serves(state))
    setup = setup.and_then(toolkit_setup(spec, driver, state, catalog, will_serve=will_serve))
    if setup.steps and not state.system.is_root:
        raise HostError(needs_root(setup))
    return setup


def serves(state: DriverState) -> bool:
    """Whether the driver works, for containers that start now as well."""
    nvidia = state.nvidia
    return nvidia.smi_status == 0 and nvidia.library_version in {"", nvidia.loaded_version}


def is_enough(driver: DriverSpec, state: DriverState, needs: Needs) -> bool:
    """Whether what is there serves, and is what is asked for."""
    nvidia = state.nvidia
    version = nvidia.loaded_version
    return (
        serves(state)
        and not needs.too_old(version)
        and (driver.wanted_branch or "") in {"", version.partition(".")[0]}
        and (driver.version or version) == version
        and (driver.flavour or nvidia.loaded_flavour) == nvidia.loaded_flavour
    )


def _driver(
    driver: DriverSpec, state: DriverState, needs: Needs, catalog: Catalog, today: str
) -> HostSetup:
    ours = MODPROBE in state.files
    if is_enough(driver, state, needs):
        if not (ours or state.lacks_fabric_manager):
            return HostSetup()
        # what is kept is what runs, whatever would be chosen today
        branch = state.nvidia.loaded_version.partition(".")[0]
        flavour = driver.flavour or state.nvidia.loaded_flavour
        driver = driver.model_copy(
            update={"branch": None if driver.version else branch, "flavour": flavour}
        )
        try:
            choice = choose(driver, state, needs, catalog, today)
        except HostError:
            if state.lacks_fabric_manager:
                raise
            return HostSetup()
    else:
        choice = choose(driver, state, needs, catalog, today)
    _refuse_other_source(choice, state, catalog)
    return _bring_about(choice, state, catalog)


def _bring_about(choice: Choice, state: DriverState, catalog: Catalog) -> HostSetup:
    packages = packages_of(state, catalog)
    installed = find_installed(choice, state)
    files = file_setup(wanted_files(choice, packages), state)
    setup = HostSetup(choice=choice)
    if files.steps and choice.repository and not _has_repository(choice, state):
        kept = APT_KEY if packages.manager == "apt" else DNF_KEY
        step = Step(("key", choice.key, choice.fingerprint, kept), progress="fetching a key")
        setup = replace(setup, steps=(step,))
    setup = setup.and_then(files)
    if installed.missing or installed.broken:
        refuse_without_room(state, builds=bool(choice.headers))
        setup = setup.and_then(_installation(choice, state, packages.manager, installed))
    installs = bool(installed.missing or installed.broken)
    setup = setup.and_then(hold_setup(choice.held, state, packages.manager, installs=installs))
    reason = reboot_reason(state, installs=bool(installed.missing), branch=choice.branch)
    setup = setup.and_then(HostSetup(reboot=reason))
    if not reason and not installs and not state.nvidia.disk_version:
        build = Change("module nvidia", "build", (FieldChange("kernel", ABSENT, state.kernel),))
        setup = setup.and_then(HostSetup((build,), (Step(("build",)),)))
    if not reason and "nvidia" not in state.loaded:
        load = Change("module nvidia", "load")
        setup = setup.and_then(HostSetup((load,), (Step(("load",), progress="loading it"),)))
    return setup.and_then(unit_setup(choice.services, state, start=not reason))


def find_installed(choice: Choice, state: DriverState) -> Installed:
    """What of a choice is there already."""
    wanted = (*choice.headers, *choice.packages)
    prefix = choice.version or f"{choice.branch}."
    missing = [
        name for name in wanted if not (package := state.packages.get(name)) or not package.is_whole
    ]
    missing += [
        name
        for name in choice.packages
        if name not in missing
        and _has_its_version(name)
        and not state.packages[name].version.removeprefix("3:").startswith(prefix)
    ]
    broken = [
        name for name, package in state.packages.items() if package.is_broken and "nvidia" in name
    ]
    return Installed(tuple(missing), tuple(broken), tuple(_leaving(choice, state)))


def _leaving(choice: Choice, state: DriverState) -> list[str]:
    """Packages that carry another branch, or the other flavour, in their names."""
    kinds = {_kind(name): name for name in choice.packages}
    return [
        name
        for name, package in sorted(state.packages.items())
        if package.status[1:2] == "i" and kinds.get(_kind(name), name) != name
    ]


def _kind(name: str) -> str:
    """A name without branch, flavour and kernel; what was renamed has the name of today."""
    today, before = FABRIC_MANAGERS
    words = name.replace(before, today).split("-")
    parts = [word for word in words if word != "open" and not word[:1].isdigit()]
    return "-".join(part for part in parts if part not in {"latest", "generic"})


def _installation(
    choice: Choice, state: DriverState, manager: str, installed: Installed
) -> HostSetup:
    before = state.nvidia.disk_version or state.nvidia.loaded_version
    action = "repair" if installed.broken and not before else "upgrade" if before else "install"
    fields = [FieldChange("driver", before or ABSENT, choice.text)]
    if installed.missing:
        fields.append(FieldChange("packages", ABSENT, " ".join(installed.missing)))
    if installed.broken:
        fields.append(FieldChange("half installed", " ".join(installed.broken), "installed"))
    if installed.leaving:
        fields.append(FieldChange("removed", " ".join(installed.leaving), ABSENT))
    change = Change(
        NVIDIA_DRIVER, action, tuple(fields), tuple(f"because {why}" for why in choice.why)
    )
    pin = (choice.pin or "-", choice.version or "-")
    names = (*choice.headers, *(_exactly(name, choice, manager) for name in choice.packages))
    leaving = tuple(f"{name}-" for name in installed.leaving)
    step = Step(
        ("install", manager, *pin, *names, *leaving), progress="installing the NVIDIA driver"
    )
    return HostSetup((change,), (step,))


def _exactly(name: str, choice: Choice, manager: str) -> str:
    """A package in the version, with dnf at least of the branch, that is asked for."""
    if not _has_its_version(name):
        return name
    if manager == "dnf":
        return f"{name}-{choice.version or f'{choice.branch}.*'}"
    return f"{name}={choice.version}*" if choice.version else name


def _has_its_version(name: str) -> bool:
    """Whether a package has the version of the driver."""
    return not name.startswith(("linux-", "nvlsm", "infiniband-"))


def _has_repository(choice: Choice, state: DriverState) -> bool:
    """Whether its key has been taken already."""
    texts = [state.files.get(path, "") for path in (APT_SOURCE, DNF_SOURCE)]
    return any(f"# key {choice.fingerprint}\n" in text for text in texts)


def _refuse_other_source(choice: Choice, state: DriverState, catalog: Catalog) -> None:
    other = "distribution" if choice.source == "vendor" else "vendor"
    packages = packages_of(state, catalog).of(other)  # type: ignore[arg-type]
    if packages is None:
        return
    own = {_kind(name) for name in choice.packages}
    names = {
        _kind(name.format(branch="1", flavour="", kernel="1", kernels="1", kmod=""))
        for name in packages.names
    }
    foreign = [
        name
        for name in state.packages
        if _kind(name) in names - own and name not in choice.packages
    ]
    if foreign:
        raise HostError(
            Problem(
                "driver",
                f"packages of the other source ({other}) are installed: {' '.join(foreign)}",
                f"one source for all of the driver, here {choice.source!r}",
                f"declare source={other!r}, or remove them: sudo apt-get purge {' '.join(foreign)}",
            )
        )


def _no_card(state: DriverState) -> Problem:
    names = ", ".join(card.name or card.device for card in state.cards) or "no GPU"
    return Problem(
        "driver",
        f"a driver is declared, and there is no NVIDIA card on the bus: {names}",
        "a host with an NVIDIA card",
        "see lspci -nn | grep -i nvidia: is the card in its slot, has it power, is it passed on to "
        "the virtual machine? Or declare driver='present'",
    )


def needs_root(setup: HostSetup) -> Problem:
    """What is wrong where steps are to be done and commands do not run as root."""
    needed = ", ".join(f"{change.action} {change.resource}" for change in setup.changes)
    return Problem(
        "driver",
        f"only root can do this, and it has to be done: {needed}",
        "sudo=True, or ssh_user='root'",
        "declare sudo=True for the host, or let its administrator do it and declare "
        "driver='present'",
    )
