"""NVIDIA's container toolkit on a host: its four packages in one version, CDI, and Docker's hook.

https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html
"""

from __future__ import annotations

from deploy.catalog import Catalog
from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.hosts.drivers.choice import packages_of
from deploy.hosts.drivers.files import (
    DOCKER_AFTER_CDI,
    DOCKER_AFTER_CDI_TEXT,
    TOOLKIT_APT_KEY,
    TOOLKIT_APT_SOURCE,
    TOOLKIT_DNF_KEY,
    TOOLKIT_DNF_SOURCE,
    toolkit_files,
)
from deploy.hosts.drivers.host_setup import HostSetup, Step, file_setup, hold_setup
from deploy.hosts.drivers.specification import why_outdated
from deploy.hosts.drivers.state import DriverState
from deploy.spec import HostSpec
from deploy.spec.driver import DriverSpec

VERSION = "1.20.0-1"
PACKAGES = (
    *("nvidia-container-toolkit", "nvidia-container-toolkit-base"),
    *("libnvidia-container-tools", "libnvidia-container1"),
)
REPOSITORY = "https://nvidia.github.io/libnvidia-container"
FINGERPRINT = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
"""Of its key ``gpgkey``, as several public projects pin it."""


def toolkit_setup(
    spec: HostSpec, driver: DriverSpec, state: DriverState, catalog: Catalog, *, will_serve: bool
) -> HostSetup:
    """What to do about the toolkit; one that somebody else installed is left alone.

    Args:
        spec: the host as declared.
        driver: what is declared of its driver.
        state: what it is like.
        catalog: packages.
        will_serve: whether the driver works when this is done.
    """
    if driver.toolkit == "present":
        return HostSetup()
    setup = _installation(spec, driver, state, catalog)
    if not spec.uses_cdi:
        return setup
    setup = setup.and_then(file_setup({DOCKER_AFTER_CDI: DOCKER_AFTER_CDI_TEXT}, state))
    return setup.and_then(_specification(state) if will_serve else HostSetup())


def _installation(
    spec: HostSpec, driver: DriverSpec, state: DriverState, catalog: Catalog
) -> HostSetup:
    """Its packages."""
    ours = {TOOLKIT_APT_SOURCE, TOOLKIT_DNF_SOURCE} & state.files.keys()
    if state.toolkit.version and not ours:
        return HostSetup()
    manager = packages_of(state, catalog).manager
    fingerprint = driver.toolkit_key_fingerprint or FINGERPRINT
    repository = driver.toolkit_repository or REPOSITORY
    files = file_setup(toolkit_files(manager, repository, fingerprint), state)
    setup = HostSetup()
    if files.steps:
        kept = TOOLKIT_APT_KEY if manager == "apt" else TOOLKIT_DNF_KEY
        step = Step(("key", f"{repository}/gpgkey", fingerprint, kept), progress="fetching a key")
        setup = HostSetup(steps=(step,)).and_then(files)
    packages = _packages(state, manager)
    installs = bool(packages.steps)
    hold = hold_setup(PACKAGES, state, manager, installs=installs)
    setup = setup.and_then(packages).and_then(hold)
    if _docker_must_restart(spec, state, installs=installs):
        effect = FieldChange("containers", "running", "keep running with live-restore")
        change = Change("unit docker.service", "restart", (effect,))
        setup = setup.and_then(
            HostSetup((change,), (Step(("docker",), progress="restarting Docker"),))
        )
    return setup


def _specification(state: DriverState) -> HostSetup:
    """CDI's specification of the cards, where it is not of the driver that works."""
    reason = why_outdated(state)
    if not reason:
        return HostSetup()
    action = "update" if state.toolkit.devices else "create"
    change = Change("CDI specification of the GPUs", action, (FieldChange("reason", "", reason),))
    return HostSetup((change,), (Step(("cdi",), progress="writing the CDI specification"),))


def _packages(state: DriverState, manager: str) -> HostSetup:
    wrong = {
        name: state.packages[name].version if name in state.packages else ABSENT
        for name in PACKAGES
        if not _is_wanted(state, name, manager)
    }
    if not wrong:
        return HostSetup()
    fields = tuple(FieldChange(name, old, VERSION) for name, old in wrong.items())
    change = Change("NVIDIA container toolkit", "install", fields)
    names = (f"{name}{'=' if manager == 'apt' else '-'}{VERSION}" for name in PACKAGES)
    step = Step(("install", manager, "-", "-", *names), progress="installing the toolkit")
    return HostSetup((change,), (step,))


def _is_wanted(state: DriverState, name: str, manager: str) -> bool:
    package = state.packages.get(name)
    wanted = VERSION if manager == "apt" else VERSION.partition("-")[0]
    return package is not None and package.is_whole and package.version == wanted


def _docker_must_restart(spec: HostSpec, state: DriverState, *, installs: bool) -> bool:
    """Dockerd looks for the runtime's hook when it starts, and never again."""
    runs = state.services.get("docker", "").endswith(" active")
    return (
        runs
        and not spec.uses_cdi
        and (state.toolkit.is_newer_than_docker or (installs and not state.toolkit.version))
    )
