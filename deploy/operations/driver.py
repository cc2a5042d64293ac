"""The driver of a host's GPUs is there, and a restart that it needs is made or asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date

from pyinfra import host
from pyinfra import state as pyinfra_state
from pyinfra.api import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import OutputLine

from deploy.artefacts import Artefacts
from deploy.catalog import load_catalog
from deploy.changes.change import Change, FieldChange
from deploy.errors import HostError
from deploy.facts import look
from deploy.facts.drivers import Drivers
from deploy.hosts.drivers.checks import driver_serves, host_driver_setup
from deploy.hosts.drivers.choice import SECURE_BOOT_WAYS
from deploy.hosts.drivers.gpu_settings import gpu_setup, interrupts
from deploy.hosts.drivers.host_setup import DRIVERS, HostSetup
from deploy.hosts.drivers.reboot import is_in_window
from deploy.hosts.drivers.state import DriverState
from deploy.hosts.drivers.turns import Turn, waits
from deploy.operations import proof
from deploy.operations.change import announce, announce_all
from deploy.operations.commands import Commands, end_here, not_deployable, refuse, show_failure
from deploy.operations.host_restart import restart
from deploy.operations.lock import changes_host
from deploy.operations.rested import RestedCommand, on_gpus, serving, told
from deploy.operations.script import ScriptCommand
from deploy.spec import HostSpec
from deploy.spec.driver import DriverSpec

SCRIPT = "driver.sh"
LOUD = {"install", "build"}
"""Steps that take so long that their script says itself how far they are."""
FIXES = {
    r"has the key .*, not [0-9A-F]{40}": (
        "if the vendor has changed its key, compare it with what the vendor publishes and declare "
        "Driver(key_fingerprint=..), or toolkit_key_fingerprint; else somebody is between"
    ),
    r"NO_PUBKEY|is not signed|BADSIG|EXPKEYSIG|NOSIGNATURE|GPG check FAILED": (
        "the repository is signed with another key than the one that is pinned: compare the new "
        "one with what the vendor publishes, and declare Driver(key_fingerprint=..)"
    ),
    r"Unable to locate package linux-headers-|(?:argument|match): kernel-devel-": (
        "the distribution no longer has headers for the kernel that runs: upgrade the kernel, "
        "restart the host, and run again"
    ),
    r"Unable to (?:locate package|find a match)|No match for argument|no installation candidate|"
    r"was not found|nothing provides": (
        "the repository does not have this package: see source, branch and version of the driver"
    ),
    r"Could not get lock|Unable to acquire the dpkg": (
        "another program installs packages on the host: see ps -e | grep -e apt -e dpkg, and run "
        "again when it has ended"
    ),
    r"No space left on device": "free space on the host, see df -h / /boot, and run again",
    r"Key was rejected by service": f"Secure Boot refuses the module: {SECURE_BOOT_WAYS}",
    r"the module could not be built": (
        "this driver does not build on this kernel: declare a newer version or another branch"
    ),
}
"""What to do, by what a step printed; the first pattern that is found counts."""


class DriverCommand(ScriptCommand):
    """One step on the host."""

    def said(self, output: Iterable[OutputLine]) -> str:
        """All lines: those of apt, dpkg and modprobe are shown as logs."""
        return "\n".join(line.line for line in output)

    def explain(self, said: str) -> str:
        """The fix for what it printed, where one is known."""
        found = (fix for pattern, fix in FIXES.items() if re.search(pattern, said))
        return "".join(f"fix: {fix}" for fix in list(found)[:1])


@changes_host
def installed(
    spec: HostSpec, cuda: Mapping[str, str], first: str = "", turn: Turn = "first"
) -> Commands:
    """The driver and the container toolkit are there, where they are Atelier's to look after.

    Args:
        spec: the host as declared.
        cuda: CUDA version that each image on it is made for, by the image's name.
        first: the host where a driver is tried that replaces one which serves.
        turn: whether this is before that host has it, or after.
    """
    try:
        found, setup = look.ask(Drivers), _setup(spec, cuda)
    except HostError as error:
        yield from refuse(not_deployable(error))
        return
    if not _has_turn(spec, setup, found, first, turn):
        return
    proof.remember(setup)
    announce_all(_told_of_the_first(setup, first) if turn == "then" else setup.changes)
    for step in setup.steps:
        quiet = "" if step.arguments[0] in LOUD else step.progress or "configuring the driver"
        yield DriverCommand(SCRIPT, *step.arguments, stdin=step.stdin, redact=str, progress=quiet)
    if not setup.changes:
        host.noop("the driver is as declared, or Atelier does not manage it")


@changes_host
def gpus_set_up(spec: HostSpec, artefacts: Artefacts) -> Commands:
    """Layouts, power limits and clocks of the host's GPUs are as declared, now and at each start.

    While a GPU is divided or made whole, the units on GPUs of the host rest.

    Args:
        spec: the host as declared.
        artefacts: the deployment.
    """
    try:
        setup = gpu_setup(spec, look.ask(Drivers), load_catalog())
    except HostError as error:
        yield from refuse(not_deployable(error))
        return
    units, leaving = on_gpus(artefacts) if interrupts(setup) else ((), ())
    first, *others = setup.changes or (None,)
    if first is None:
        host.noop("the settings of its GPUs are as declared, or Atelier does not manage them")
        return
    announce_all([replace(first, diff=told(units, artefacts)), *others])
    steps = [
        DriverCommand(SCRIPT, *step.arguments, stdin=step.stdin, redact=str, progress=step.progress)
        for step in setup.steps
    ]
    if units or leaving:
        yield RestedCommand(steps, units, artefacts, leaving=leaving, starts_anyway=True)
    else:
        yield from steps


@changes_host
def restarted(
    spec: HostSpec,
    artefacts: Artefacts,
    cuda: Mapping[str, str],
    first: str = "",
    turn: Turn = "first",
) -> Commands:
    """The host is restarted if its driver needs that and it may be; else the run ends here.

    Its units rest meanwhile: requests go to other hosts that serve the same.

    Args:
        spec: the host as declared.
        artefacts: the deployment.
        cuda: CUDA version that each image on it is made for, by the image's name.
        first: the host where a driver is tried that replaces one which serves.
        turn: whether this is before that host has it, or after.
    """
    try:
        state, setup = look.ask(Drivers), _setup(spec, cuda)
    except HostError as error:
        yield from refuse(not_deployable(error))
        return
    driver = spec.driver or DriverSpec()
    if not setup.reboot:
        host.noop("the host need not be restarted")
        return
    if not _has_turn(spec, setup, state, first, turn):
        return
    message = _not_now(spec, driver, state, setup.reboot)
    if message == "" and driver.reboot == "never":
        host.noop(f"the host is not restarted, as declared: {setup.reboot}")
        return
    action = "end the run before a restart of" if message else "restart"
    units = () if message else serving(artefacts)
    # where GPUs are divided by the restart, old containers may name one that is no longer whole
    by_driver = host_driver_setup(spec, state, cuda, load_catalog(), _today()).reboot
    _, leaving = ((), ()) if message or by_driver else on_gpus(artefacts)
    why = (FieldChange("reason", "", setup.reboot),)
    announce(Change(f"host {host.name}", action, why, told(units, artefacts)))
    if message:
        yield from end_here(message)
        return
    proof = FunctionCommand(_is_enough, (spec, cuda), {})
    timeout = driver.reboot_timeout_seconds
    yield restart(artefacts, units, state.boot_id, timeout, [proof], leaving)


def _has_turn(spec: HostSpec, setup: HostSetup, found: DriverState, first: str, turn: Turn) -> bool:
    """Whether it is the host's turn; what was done in the first one is seen in the second."""
    serving = driver_serves(spec, found, load_catalog())
    later = waits(setup, host.name, first or host.name, serving=serving)
    if turn == "first" and later:
        host.noop(f"its driver is replaced when that of {first} works")
        return False
    if turn == "then" and not (pyinfra_state.is_executing or later):
        host.noop("it had its turn")
        return False
    return True


def _told_of_the_first(setup: HostSetup, first: str) -> list[Change]:
    why = f"after {first}, where it is tried: if it fails there, this host keeps what it has"
    return [
        replace(change, diff=(*change.diff, why)) if change.resource in DRIVERS else change
        for change in setup.changes
    ]


def _setup(spec: HostSpec, cuda: Mapping[str, str]) -> HostSetup:
    found, catalog = look.ask(Drivers), load_catalog()
    setup = host_driver_setup(spec, found, cuda, catalog, _today())
    return replace(setup, reboot=setup.reboot or gpu_setup(spec, found, catalog).reboot)


def _today() -> str:
    return date.today().isoformat()


def _not_now(spec: HostSpec, driver: DriverSpec, state: DriverState, reason: str) -> str:
    """Why the host is not restarted now; empty if it is, or need not be today."""
    needed = f"{host.name} must be restarted before its GPUs can be used: {reason}"
    go_on = "restart it (sudo systemctl reboot) and run this again; what was done stays done"
    if driver.reboot == "never" and driver_serves(spec, state, load_catalog()):
        return ""
    if driver.reboot in {"ask", "never"}:
        return f"{needed}\n    fix: {go_on}; or declare Driver(reboot='allowed')"
    if spec.is_local:
        return f"{needed}\n    fix: this machine is where Atelier runs: {go_on}"
    if not is_in_window(driver.reboot_window, state.time):
        window = driver.reboot_window
        return (
            f"{needed}\n    found: it is {state.time} there, and it may be restarted {window}\n"
            f"    fix: run this again in that time, or {go_on}"
        )
    return ""


def _is_enough(
    state: State,  # noqa: ARG001 - pyinfra gives both, by these names
    host: Host,
    spec: HostSpec,
    cuda: Mapping[str, str],
) -> bool:
    """Whether the restart brought what it was for; if not, no other one would."""
    reason = _setup(spec, cuda).reboot
    if reason:
        show_failure(
            host,
            f"{host.name} was restarted, and still: {reason}\n"
            "    fix: see which kernel and which modules it starts with (uname -r, lsmod, dmesg), "
            "and declare reboot='ask' until it is put right",
        )
    return not reason
