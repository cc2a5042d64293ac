"""Layouts, power limits and clocks of a host's GPUs of NVIDIA: what is to be done, pure.

They are lost at every restart, so a unit of systemd brings them about before Docker starts. What
Atelier set is taken back when it is no longer declared; what others set is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deploy.catalog import Catalog, place_instances
from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.errors import HostError, Problem
from deploy.hosts.drivers.files import GPU_SETTINGS, GPU_SETTINGS_SCRIPT, GPU_SETTINGS_UNIT, MARK
from deploy.hosts.drivers.host_setup import HostSetup, Step, file_setup
from deploy.hosts.drivers.state import DriverState, GpuSettings
from deploy.plan.host_gpus import gpu_names
from deploy.scripts import read_script
from deploy.spec import HostSpec

UNIT = "atelier-gpus"
SCRIPT = "gpu_settings.sh"
DIVIDE, MAKE_WHOLE = "divide", "make whole"
PROGRESS = "setting up GPUs"
ROUNDED_WATTS = 1.0
"""Drivers keep limits in milliwatts, and print two digits of them."""
UNIT_TEXT = f"""{MARK}[Unit]
Description=Layouts, power limits and clocks of GPUs
Documentation=https://docs.nvidia.com/datacenter/tesla/mig-user-guide/
After=nvidia-persistenced.service
Before=nvidia-cdi-refresh.service docker.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {GPU_SETTINGS_SCRIPT} apply {GPU_SETTINGS}
[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Setting:
    """One setting of one GPU: a line of the file."""

    what: str
    """``mig``, ``power`` or ``clocks``."""
    gpu: int
    value: str

    @property
    def line(self) -> str:
        """As the file has it."""
        return f"{self.what} {self.gpu} {self.value}"

    @property
    def text(self) -> str:
        """In words, after the number of the GPU."""
        match self.what:
            case "mig":
                return f"divided into {' '.join(self.layout)}"
            case "power":
                return f"limited to {self.value} W"
            case _:
                return f"at {self.value.replace(',', ' to ')} MHz"

    @property
    def layout(self) -> tuple[str, ...]:
        """Profiles of the instances, as the driver is to number them."""
        return tuple(each.partition(":")[0] for each in self.value.split())


def declared_settings(spec: HostSpec, catalog: Catalog) -> tuple[Setting, ...]:
    """What is declared of each GPU; layouts come first."""
    names = gpu_names(spec, catalog)
    found = []
    for gpu, profiles in sorted(spec.mig.items()):
        placed = place_instances(catalog.mig[names[gpu]], profiles)
        found.append(Setting("mig", gpu, " ".join(each.placed for each in placed)))
    for gpu in range(len(names)):
        if spec.power_limit_watts:
            found.append(Setting("power", gpu, str(spec.power_limit_watts)))
        if spec.gpu_clocks_mhz:
            found.append(Setting("clocks", gpu, ",".join(map(str, spec.gpu_clocks_mhz))))
    return tuple(found)


def written_settings(state: DriverState) -> tuple[Setting, ...]:
    """What Atelier wrote there before."""
    lines = [line.split(maxsplit=2) for line in state.files.get(GPU_SETTINGS, "").splitlines()]
    return tuple(
        Setting(words[0], int(words[1]), words[2])
        for words in lines
        if len(words) == 3 and words[1].isdigit()
    )


def gpu_setup(spec: HostSpec, state: DriverState, catalog: Catalog) -> HostSetup:
    """What to do about the settings of a host's GPUs.

    Where the driver does not work yet, the unit does it at the next start of the host.

    Args:
        spec: the host as declared.
        state: what it is like.
        catalog: what cards can be divided into.

    Raises:
        HostError: if a card does not allow what is declared, or only root could set it.
    """
    wanted, written = declared_settings(spec, catalog), written_settings(state)
    works = state.nvidia.smi_status == 0
    if not (wanted or (written and works)):
        return HostSetup(reboot=_reboot(spec, state))
    if problems := tuple(_not_allowed(spec, state)):
        raise HostError(*problems)
    setup = _taken_back(wanted, written, state) if works else HostSetup()
    setup = setup.and_then(_brought_about(wanted, state) if wanted else _forgotten())
    if setup.steps and not state.system.is_root:
        raise HostError(_needs_root(setup))
    return HostSetup(setup.changes, setup.steps, _reboot(spec, state))


def interrupts(setup: HostSetup) -> bool:
    """Whether engines must rest meanwhile: a GPU is divided, or made whole."""
    divides = any(change.action in {DIVIDE, MAKE_WHOLE} for change in setup.changes)
    return divides and any(step.arguments[0] == "gpus" for step in setup.steps)


def _taken_back(
    wanted: tuple[Setting, ...], written: tuple[Setting, ...], state: DriverState
) -> HostSetup:
    """Settings that Atelier made and that are no longer declared, before the file forgets them."""
    kept = {(each.what, each.gpu) for each in wanted}
    left = [each for each in written if (each.what, each.gpu) not in kept]
    found = [undone for each in left if (undone := _undo(each, _live(state, each.gpu)))]
    if not found:
        return HostSetup()
    step = Step(("gpus", "undo", *(word for word, _ in found)), progress=PROGRESS)
    return HostSetup(tuple(change for _, change in found), (step,))


def _undo(setting: Setting, live: GpuSettings) -> tuple[str, Change] | None:
    """The word for the script, and what it does."""
    gpu = f"GPU {setting.gpu}"
    if setting.what == "mig":
        if not live.mig:
            return None
        old = FieldChange("mig", " ".join(live.instances) or ABSENT, ABSENT)
        return f"mig:{setting.gpu}", Change(gpu, MAKE_WHOLE, (old,))
    if setting.what == "clocks":
        field = FieldChange("gpu_clocks_mhz", setting.value, "the card's own")
        return f"clocks:{setting.gpu}", Change(gpu, "unlock", (field,))
    usual = live.default_power_watts
    if usual is None or _is_limited_to(live, usual):
        return None
    field = FieldChange("power_limit_watts", _watts(live.power_watts), _watts(usual))
    return f"power:{setting.gpu}:{usual:g}", Change(gpu, "limit", (field,))


def _brought_about(wanted: tuple[Setting, ...], state: DriverState) -> HostSetup:
    works = state.nvidia.smi_status == 0
    text = MARK + "".join(f"{each.line}\n" for each in wanted)
    files = {
        GPU_SETTINGS_SCRIPT: MARK + read_script(SCRIPT),
        GPU_SETTINGS: text,
        GPU_SETTINGS_UNIT: UNIT_TEXT,
    }
    setup = file_setup(files, state)
    changes = list(_differing(wanted, state)) if works or setup.steps else []
    enabled, _, active = state.services.get(UNIT, "").partition(" ")
    if enabled != "enabled":
        changes.append(Change(f"unit {UNIT}.service", "enable"))
    elif works and active != "active" and not changes and not setup.steps:
        changes.append(Change(f"unit {UNIT}.service", "start"))
    if not (changes or setup.steps):
        return HostSetup()
    how = ("gpus", "apply") if works else ("units", "enable", UNIT)
    return setup.and_then(HostSetup(tuple(changes), (Step(how, progress=PROGRESS),)))


def _differing(wanted: tuple[Setting, ...], state: DriverState) -> Iterator[Change]:
    """What changes on GPUs."""
    written = {(each.what, each.gpu): each.value for each in written_settings(state)}
    for each in wanted:
        live, gpu = _live(state, each.gpu), f"GPU {each.gpu}"
        if each.what == "mig" and live.instances != each.layout:
            # one whose mode waits for a restart is divided then
            if live.mig or not live.mig_pending:
                old = " ".join(live.instances) or ABSENT
                yield Change(gpu, DIVIDE, (FieldChange("mig", old, " ".join(each.layout)),))
        elif each.what == "power" and not _is_limited_to(live, float(each.value)):
            old = _watts(live.power_watts)
            yield Change(gpu, "limit", (FieldChange("power_limit_watts", old, each.value),))
        elif each.what == "clocks":
            before = written.get(("clocks", each.gpu), ABSENT)
            if before != each.value:
                yield Change(gpu, "lock", (FieldChange("gpu_clocks_mhz", before, each.value),))


def _forgotten() -> HostSetup:
    """Nothing is declared any more."""
    return HostSetup((Change(f"unit {UNIT}.service", "remove"),), (Step(("gpus", "forget")),))


def _reboot(spec: HostSpec, state: DriverState) -> str:
    """Why the host must be restarted: a mode that is as declared only then."""
    for gpu, live in enumerate(state.gpu_settings):
        wanted = gpu in spec.mig
        if live.mig != wanted and live.mig_pending == wanted:
            return f"GPU {gpu} {'can be divided' if wanted else 'is whole'} only after a restart"
    return ""


def _not_allowed(spec: HostSpec, state: DriverState) -> Iterator[Problem]:
    """Settings beyond what a card allows."""
    watts, clocks = spec.power_limit_watts, spec.gpu_clocks_mhz
    for gpu, live in enumerate(state.gpu_settings):
        least, most = live.least_power_watts, live.most_power_watts
        if watts and least is not None and most is not None and not least <= watts <= most:
            yield Problem(
                "power_limit_watts",
                f"{watts} W for GPU {gpu}",
                f"{least:g} to {most:g} W, as the card says",
            )
        highest = live.most_clock_mhz
        if clocks and highest is not None and clocks[1] > highest:
            yield Problem(
                "gpu_clocks_mhz", f"{clocks[1]} MHz for GPU {gpu}", f"at most {highest} MHz"
            )


def _needs_root(setup: HostSetup) -> Problem:
    needed = ", ".join(f"{change.action} {change.resource}" for change in setup.changes)
    return Problem(
        "mig, power_limit_watts, gpu_clocks_mhz",
        f"only root can do this, and it has to be done: {needed}",
        "sudo=True, or ssh_user='root'",
        "declare sudo=True for the host",
    )


def _live(state: DriverState, gpu: int) -> GpuSettings:
    known = state.gpu_settings
    return known[gpu] if gpu < len(known) else GpuSettings()


def _is_limited_to(live: GpuSettings, watts: float) -> bool:
    return live.power_watts is not None and abs(live.power_watts - watts) < ROUNDED_WATTS


def _watts(value: float | None) -> str:
    return ABSENT if value is None else f"{value:g}"
