"""What must happen for AMD's cards to have their driver: pure. No ROCm: containers bring it.

What is there and serves is left alone, unless a source or a version is asked for.
"""

from __future__ import annotations

import re

from deploy.catalog import Catalog
from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.errors import HostError, Problem
from deploy.hosts.drivers.amd_choice import PACKAGES, AmdChoice, choose_amd, known_cards
from deploy.hosts.drivers.amd_findings import broken_amd
from deploy.hosts.drivers.choice import release_of
from deploy.hosts.drivers.files import (
    AMD_APT_KEY,
    AMD_APT_SOURCE,
    AMD_DNF_KEY,
    AMD_DNF_SOURCE,
    amd_files,
)
from deploy.hosts.drivers.host_setup import AMD_DRIVER, HostSetup, Step, file_setup, hold_setup
from deploy.hosts.drivers.reboot import kernel_numbers
from deploy.hosts.drivers.room import refuse_without_room
from deploy.hosts.drivers.state import DriverState
from deploy.spec.driver import DriverSpec


def amd_setup(driver: DriverSpec, state: DriverState, catalog: Catalog) -> HostSetup:
    """What to do about the driver of AMD's cards.

    Args:
        driver: as declared.
        state: what the host is like.
        catalog: cards and packages.

    Raises:
        HostError: if it cannot be done.
    """
    cards = known_cards(state, catalog)
    if not cards:
        raise HostError(_no_card(state, catalog))
    if driver.branch or driver.flavour:
        raise HostError(_of_nvidia(driver))
    enough = is_enough(driver, state)
    if enough:
        version = _own_version(state)
        if not version:
            return HostSetup()
        # what is kept is what runs, whatever would be chosen today
        driver = driver.model_copy(update={"version": driver.version or version})
    elif driver.source == "distribution" and PACKAGES[0] in state.packages:
        raise HostError(_other_driver(state))
    try:
        choice = choose_amd(driver, state, cards, catalog)
    except HostError:
        if enough:
            return HostSetup()
        raise
    return _bring_about(choice, state, catalog, enough=enough)


def serves(state: DriverState) -> bool:
    """Whether programs can compute on AMD's cards."""
    return state.amd.has_kfd and bool(state.amd.gfx)


def is_enough(driver: DriverSpec, state: DriverState) -> bool:
    """Whether what is there serves, and is what is asked for."""
    of_amd = bool(state.amd.loaded_version)
    if driver.version:
        wanted = AmdChoice("vendor", driver.version)
        right = of_amd and not _differing(wanted, state)
    else:
        right = driver.source in {None, "vendor" if of_amd else "distribution"}
    return serves(state) and right


def _bring_about(
    choice: AmdChoice, state: DriverState, catalog: Catalog, *, enough: bool
) -> HostSetup:
    manager = choice.manager
    setup = HostSetup(amd=choice)
    if choice.source == "vendor":
        setup = setup.and_then(_repository(choice, state, manager))
    missing, broken = _missing(choice, state), _broken(state)
    installs = bool(missing or broken)
    if installs:
        refuse_without_room(state, builds=choice.source == "vendor")
        setup = setup.and_then(_installation(choice, state, manager, missing, broken))
    if choice.source == "vendor":
        setup = setup.and_then(hold_setup(PACKAGES, state, manager, installs=installs))
    serving = enough and not installs and not state.amd.is_replaced
    reason = "" if serving else _reboot_reason(choice, state, installs=installs)
    setup = setup.and_then(HostSetup(reboot=reason))
    if reason or serving:
        return setup
    return setup.and_then(_start(choice, state, catalog, installs=installs))


def _start(choice: AmdChoice, state: DriverState, catalog: Catalog, *, installs: bool) -> HostSetup:
    """Build the module for the kernel that runs if it is not there, and load it."""
    setup = HostSetup()
    if choice.source == "vendor" and not installs and not state.amd.disk_version:
        build = Change("module amdgpu", "build", (FieldChange("kernel", ABSENT, state.kernel),))
        setup = setup.and_then(HostSetup((build,), (Step(("build", "amdgpu")),)))
    if "amdgpu" not in state.loaded:
        load = Change("module amdgpu", "load")
        step = Step(("load", "amdgpu"), progress="loading it")
        return setup.and_then(HostSetup((load,), (step,)))
    if not setup.steps:
        found, fix = broken_amd(state, catalog)
        raise HostError(Problem("driver", found, "an amdgpu that offers /dev/kfd", fix))
    return setup


def _repository(choice: AmdChoice, state: DriverState, manager: str) -> HostSetup:
    files = file_setup(amd_files(choice, manager), state)
    source, kept = (
        (AMD_APT_SOURCE, AMD_APT_KEY) if manager == "apt" else (AMD_DNF_SOURCE, AMD_DNF_KEY)
    )
    if f"# key {choice.fingerprint}\n" in state.files.get(source, ""):
        return files
    step = Step(("key", choice.key, choice.fingerprint, kept), progress="fetching a key")
    return HostSetup(steps=(step,)).and_then(files)


def _missing(choice: AmdChoice, state: DriverState) -> tuple[str, ...]:
    """Packages that are absent, half installed, or of another version."""
    wanted = (*choice.headers, *choice.packages)
    absent = [
        name for name in wanted if not (there := state.packages.get(name)) or not there.is_whole
    ]
    differing = _differing(choice, state) if choice.source == "vendor" else []
    return (*absent, *(name for name in differing if name not in absent))


def _differing(choice: AmdChoice, state: DriverState) -> list[str]:
    """Packages of AMD's driver where they are of another version; their firmware tells."""
    found = state.packages.get(PACKAGES[1])
    version = found.version.rpartition(":")[2] if found else ""
    return [] if version.startswith(choice.firmware) else [*PACKAGES]


def _broken(state: DriverState) -> tuple[str, ...]:
    return tuple(
        name
        for name, package in state.packages.items()
        if package.is_broken and name.startswith("amdgpu")
    )


def _installation(
    choice: AmdChoice,
    state: DriverState,
    manager: str,
    missing: tuple[str, ...],
    broken: tuple[str, ...],
) -> HostSetup:
    before = state.amd.disk_version or state.amd.loaded_version
    if before:
        before = f"amdgpu-dkms {before}"
    action = "repair" if broken and not before else "upgrade" if before else "install"
    fields = [FieldChange("driver", before or ABSENT, choice.text)]
    if missing:
        fields.append(FieldChange("packages", ABSENT, " ".join(missing)))
    if broken:
        fields.append(FieldChange("half installed", " ".join(broken), "installed"))
    because = tuple(f"because {why}" for why in choice.why)
    change = Change(AMD_DRIVER, action, tuple(fields), because)
    arguments = ("install", manager, "-", "-", *choice.headers, *choice.packages)
    step = Step(arguments, progress="installing the AMD driver")
    return HostSetup((change,), (step,))


def _reboot_reason(choice: AmdChoice, state: DriverState, *, installs: bool) -> str:
    """Why the host must be restarted; empty if it need not."""
    amd = state.amd
    loaded = "amdgpu" in state.loaded
    running = f"amdgpu {amd.loaded_version or 'of the kernel'} is loaded"
    if choice.source == "vendor" and loaded and installs:
        return f"{running}, and amdgpu {choice.version} is installed"
    if choice.source == "vendor" and loaded and amd.is_replaced:
        return f"{running}, and another amdgpu-dkms, {amd.disk_version}, is installed"
    if loaded and not amd.has_kfd and (installs or amd.missing_firmware):
        return "amdgpu was loaded before its firmware was there"
    runs = kernel_numbers(state.kernel)
    newer = [kernel for kernel in amd.module_kernels if kernel_numbers(kernel) > runs]
    if choice.source == "vendor" and not amd.disk_version and newer and not installs:
        newest = max(newer, key=kernel_numbers)
        return f"there is a module for kernel {newest}, and {state.kernel} runs"
    return ""


def _own_version(state: DriverState) -> str:
    """Version of AMD's driver that Atelier's own file names; empty if there is no such file."""
    texts = [state.files.get(path, "") for path in (AMD_APT_SOURCE, AMD_DNF_SOURCE)]
    found = re.search(r"/(\d+(?:\.\d+)+)/(?:ubuntu|el)\b", "\n".join(texts))
    return found[1] if found and state.amd.loaded_version else ""


def _no_card(state: DriverState, catalog: Catalog) -> Problem:
    there = [f"{card.name or 'a card'} [1002:{card.device}]" for card in state.amd_cards]
    others = [card.name or card.device for card in state.cards if card.vendor != "amd"]
    return Problem(
        "driver",
        "a driver for AMD's cards is declared, and there is none on the bus that Atelier knows: "
        f"{', '.join((*there, *others)) or 'no GPU'}",
        f"cards of {', '.join(catalog.amd_cards)}",
        "see lspci -nn | grep -i amd: is the card in its slot, has it power, is it passed on to "
        "the virtual machine? Or declare driver='present'",
    )


def _of_nvidia(driver: DriverSpec) -> Problem:
    name = "branch" if driver.branch else "flavour"
    return Problem(
        "driver",
        f"{name}={getattr(driver, name)!r} for AMD's cards",
        "source and version",
        f"remove {name}: only NVIDIA's drivers have it",
    )


def _other_driver(state: DriverState) -> Problem:
    remove = (
        "sudo dnf remove" if release_of(state.system).startswith("rhel") else "sudo apt-get purge"
    )
    return Problem(
        "driver",
        "source='distribution', and amdgpu-dkms is installed, which the kernel takes first",
        "one driver for AMD's cards",
        f"declare source='vendor', or remove it: {remove} amdgpu-dkms, and restart the host",
    )
