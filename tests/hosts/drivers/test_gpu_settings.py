"""Layouts, power limits and clocks: what is done about them on hosts that are made up."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.catalog import in_order, load_catalog, place_instances
from deploy.errors import HostError
from deploy.hosts.drivers.files import GPU_SETTINGS, GPU_SETTINGS_SCRIPT, GPU_SETTINGS_UNIT
from deploy.hosts.drivers.gpu_settings import UNIT, gpu_setup, interrupts
from deploy.hosts.drivers.host_setup import HostSetup
from deploy.hosts.drivers.state import DriverState, GpuSettings, Nvidia
from deploy.hosts.state import System
from deploy.spec import HostSpec
from tests.hosts.drivers.host import make_host, words

CATALOG = load_catalog()
H100 = GpuSettings(
    power_watts=700.0,
    default_power_watts=700.0,
    least_power_watts=200.0,
    most_power_watts=700.0,
    most_clock_mhz=1980,
)
SERVING = Nvidia(loaded_version="580.178.04", library_version="580.178.04", smi_status=0)


def host(*gpus: GpuSettings, **state: Any) -> DriverState:
    """A host whose driver works."""
    found: dict[str, Any] = {"nvidia": SERVING, "gpu_settings": gpus or (H100, H100)}
    return make_host("debian-12", "h100", "h100", **found | state)


def declare(**settings: Any) -> HostSpec:
    return HostSpec(name="h1", gpus="2x h100", **settings)


def plan(spec: HostSpec, state: DriverState) -> HostSetup:
    return gpu_setup(spec, state, CATALOG)


def after(state: DriverState, setup: HostSetup, *, resets: bool = True) -> DriverState:
    """The host when every step was done; the modes of cards that cannot reset are pending."""
    for step in setup.steps:
        match step.arguments:
            case ("files", *paths):
                lines = [base64.b64decode(line).decode() for line in step.stdin.splitlines()]
                texts = dict(zip(paths, lines, strict=True))
                state = replace(state, files=state.files | texts)
            case ("gpus", "undo", *each):
                for word in each:
                    state = undo(state, word, resets=resets)
            case ("gpus", "apply"):
                state = apply(state, resets=resets)
            case ("units", "enable", name):
                state = replace(state, services={**state.services, name: "enabled inactive"})
            case ("gpus", "forget"):
                ours = {GPU_SETTINGS, GPU_SETTINGS_SCRIPT, GPU_SETTINGS_UNIT}
                files = {path: text for path, text in state.files.items() if path not in ours}
                services = {name: how for name, how in state.services.items() if name != UNIT}
                state = replace(state, files=files, services=services)
            case other:
                raise AssertionError(other)
    return state


def apply(state: DriverState, *, resets: bool) -> DriverState:
    """What the unit does."""
    gpus = list(state.gpu_settings)
    for line in state.files[GPU_SETTINGS].splitlines()[1:]:
        what, number, *rest = line.split()
        gpu = gpus[int(number)]
        if what == "mig" and (resets or gpu.mig):
            layout = tuple(each.partition(":")[0] for each in rest)
            gpu = replace(gpu, mig=True, mig_pending=True, instances=layout)
        elif what == "mig":
            gpu = replace(gpu, mig_pending=True)
        elif what == "power":
            gpu = replace(gpu, power_watts=float(rest[0]))
        gpus[int(number)] = gpu
    services = {**state.services, UNIT: "enabled active"}
    return replace(state, gpu_settings=tuple(gpus), services=services)


def undo(state: DriverState, word: str, *, resets: bool) -> DriverState:
    what, number, *rest = word.split(":")
    gpus = list(state.gpu_settings)
    gpu = gpus[int(number)]
    if what == "mig":
        gpu = replace(gpu, instances=(), mig_pending=False, mig=gpu.mig and not resets)
    elif what == "power":
        gpu = replace(gpu, power_watts=float(rest[0]))
    gpus[int(number)] = gpu
    return replace(state, gpu_settings=tuple(gpus))


def restarted(state: DriverState) -> DriverState:
    """Limits and instances are lost, modes are what was pending; then the unit runs."""
    gpus = tuple(
        replace(gpu, mig=gpu.mig_pending, instances=(), power_watts=gpu.default_power_watts)
        for gpu in state.gpu_settings
    )
    state = replace(state, gpu_settings=gpus)
    return apply(state, resets=True) if UNIT in state.services else state


MIG = {0: ("1g.10gb", "3g.40gb")}


def test_a_layout() -> None:
    setup = plan(declare(mig=MIG), host())
    assert words(setup) == [
        f"create file {GPU_SETTINGS_SCRIPT}",
        f"create file {GPU_SETTINGS}",
        f"create file {GPU_SETTINGS_UNIT}",
        "divide GPU 0",
        "enable unit atelier-gpus.service",
    ]
    assert interrupts(setup)
    [divided] = [change for change in setup.changes if change.action == "divide"]
    [field] = divided.fields
    assert (field.old, field.new) == ("(none)", "3g.40gb 1g.10gb")
    done = after(host(), setup)
    assert done.files[GPU_SETTINGS].splitlines()[1:] == ["mig 0 3g.40gb:0 1g.10gb:4"]
    assert done.gpu_settings[0].instances == ("3g.40gb", "1g.10gb")
    assert plan(declare(mig=MIG), done) == HostSetup()
    # the unit is ordered before whatever looks at GPUs
    assert "Before=nvidia-cdi-refresh.service docker.service" in done.files[GPU_SETTINGS_UNIT]


def test_a_layout_that_somebody_changed_by_hand() -> None:
    done = after(host(), plan(declare(mig=MIG), host()))
    changed = (replace(done.gpu_settings[0], instances=("7g.80gb",)), done.gpu_settings[1])
    drifted = replace(done, gpu_settings=changed)
    setup = plan(declare(mig=MIG), drifted)
    assert words(setup) == ["divide GPU 0"]
    assert setup.changes[0].fields[0].old == "7g.80gb"
    assert after(drifted, setup) == done


def test_a_card_that_is_divided_only_after_a_restart() -> None:
    spec = declare(mig=MIG)
    pending = after(host(), plan(spec, host()), resets=False)
    waiting = plan(spec, pending)
    assert (waiting.steps, waiting.reboot) == ((), "GPU 0 can be divided only after a restart")
    assert plan(spec, restarted(pending)) == HostSetup()


def test_a_driver_that_does_not_work_yet() -> None:
    """The unit does it when the host starts with the new driver."""
    bare = host(nvidia=Nvidia(), gpu_settings=())
    spec = declare(mig=MIG, power_limit_watts=500)
    setup = plan(spec, bare)
    assert "divide GPU 0" in words(setup)
    assert [step.arguments[:2] for step in setup.steps][1:] == [("units", "enable")]
    waiting = after(bare, setup)
    assert plan(spec, waiting) == HostSetup()
    up = restarted(replace(waiting, nvidia=SERVING, gpu_settings=(H100, H100)))
    assert plan(spec, up) == HostSetup()
    assert up.gpu_settings[0].instances == ("3g.40gb", "1g.10gb")


@pytest.mark.parametrize("resets", [True, False])
def test_what_is_no_longer_declared_is_taken_back(resets: bool) -> None:
    spec = declare(mig=MIG, power_limit_watts=500, gpu_clocks_mhz=(210, 1410))
    done = after(host(), plan(spec, host()))
    part = plan(declare(mig=MIG), done)
    assert words(part)[:4] == ["limit GPU 0", "unlock GPU 0", "limit GPU 1", "unlock GPU 1"]
    assert not interrupts(part)
    # the file forgets a setting only after it was taken back
    assert [step.arguments[0] for step in part.steps] == ["gpus", "files", "gpus"]
    left = after(done, part)
    assert (left.gpu_settings[0].power_watts, left.gpu_settings[0].mig) == (700.0, True)
    rest = plan(declare(), left)
    assert words(rest) == ["make whole GPU 0", "remove unit atelier-gpus.service"]
    assert interrupts(rest)
    whole = after(left, rest, resets=resets)
    assert (whole.files, whole.gpu_settings[0].instances) == ({}, ())
    last = plan(declare(), whole)
    assert last.steps == ()
    assert last.reboot == ("" if resets else "GPU 0 is whole only after a restart")


def test_what_others_set_is_left_alone() -> None:
    divided = replace(H100, mig=True, mig_pending=True, instances=("7g.80gb",), power_watts=300.0)
    assert plan(declare(), host(divided, H100)) == HostSetup()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"power_limit_watts": 100}, "100 W for GPU 0\n    allowed: 200 to 700 W"),
        ({"power_limit_watts": 800}, "800 W for GPU 0"),
        ({"gpu_clocks_mhz": (210, 2600)}, "2600 MHz for GPU 0\n    allowed: at most 1980 MHz"),
    ],
)
def test_what_a_card_does_not_allow(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(HostError) as refused:
        plan(declare(**settings), host())
    assert said in str(refused.value)


def test_only_root_can_set_gpus_up() -> None:
    state = host(system=System(id="debian", version="12", is_root=False))
    with pytest.raises(HostError) as refused:
        plan(declare(mig=MIG), state)
    assert "only root can do this, and it has to be done" in str(refused.value)


def test_a_unit_that_failed_is_started_again() -> None:
    spec = declare(power_limit_watts=500)
    done = after(host(), plan(spec, host()))
    failed = replace(done, services={UNIT: "enabled failed"})
    assert words(plan(spec, failed)) == ["start unit atelier-gpus.service"]


PROFILES = sorted(CATALOG.mig["h100"].profiles)
LAYOUTS = (
    st.lists(st.sampled_from(PROFILES), min_size=1, max_size=7)
    .filter(lambda names: place_instances(CATALOG.mig["h100"], names))
    .map(tuple)
)
SPECS = st.builds(
    declare,
    mig=st.dictionaries(st.sampled_from([0, 1]), LAYOUTS, max_size=2),
    power_limit_watts=st.none() | st.integers(200, 700),
    gpu_clocks_mhz=st.none() | st.just((210, 1410)),
)
LIVE = st.builds(
    lambda layout, watts: replace(
        H100,
        mig=layout is not None,
        mig_pending=layout is not None,
        instances=tuple(in_order(CATALOG.mig["h100"], layout or ())),
        power_watts=watts,
    ),
    st.none() | LAYOUTS,
    st.sampled_from([300.0, 700.0]),
)


@given(st.lists(SPECS, min_size=1, max_size=4), LIVE, LIVE, st.booleans(), st.booleans())
def test_what_it_decides_it_never_undoes(
    specs: list[HostSpec], one: GpuSettings, other: GpuSettings, resets: bool, restarts: bool
) -> None:
    """One inventory after another: a run, at most a restart, and then nothing is left to do."""
    state = host(one, other)
    for spec in specs:
        state = after(state, plan(spec, state), resets=resets)
        if restarts or plan(spec, state).reboot:
            state = restarted(state)
        again = plan(spec, state)
        assert (again.steps, again.changes, again.reboot) == ((), (), "")
        for gpu, layout in spec.mig.items():
            wanted = tuple(in_order(CATALOG.mig["h100"], layout))
            assert state.gpu_settings[gpu].instances == wanted
        if spec.power_limit_watts:
            limits = {live.power_watts for live in state.gpu_settings}
            assert limits == {float(spec.power_limit_watts)}
    state = after(state, plan(declare(), state), resets=True)
    assert UNIT not in state.services
    assert not state.files
