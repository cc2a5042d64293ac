"""What is done about the driver of AMD's cards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.catalog import load_catalog
from deploy.errors import HostError
from deploy.hosts.drivers.files import AMD_APT_SOURCE, AMD_DNF_SOURCE
from deploy.hosts.drivers.host_setup import HostSetup
from deploy.hosts.drivers.state import Amd, DriverState, Package
from deploy.hosts.state import PciGpu
from deploy.spec import HostSpec
from tests.hosts.drivers.amd_host import CARDS, after, declare, make_amd_host, plan, restarted
from tests.hosts.drivers.host import KERNELS, words
from tests.hosts.drivers.host import make_host as make_nvidia_host

LOADED = frozenset({"amdgpu"})
SERVES = Amd(has_kfd=True, gfx=("gfx942",))


def settle(spec: HostSpec, state: DriverState) -> DriverState:
    """The host when everything was done, restarted where that is asked for."""
    for _ in range(3):
        setup = plan(spec, state)
        if not setup.steps and not setup.reboot:
            return state
        state = after(state, setup)
        state = restarted(state) if setup.reboot else state
    raise AssertionError(setup)


def test_an_mi300x_has_amds_own_driver() -> None:
    setup = plan(declare(), make_amd_host("debian-13"))
    assert words(setup) == [
        "create file /etc/apt/sources.list.d/atelier-amd.sources",
        "create file /etc/apt/preferences.d/atelier-amd",
        "create file /etc/apt/apt.conf.d/52atelier-amd",
        "install AMD driver",
        "hold packages that only Atelier upgrades",
        "load module amdgpu",
    ]
    assert setup.steps[0].arguments == (
        "key",
        "https://repo.radeon.com/rocm/rocm.gpg.key",
        "CA8BB4727A47B4D09B4EE8969386B48A1A693C5C",
        "/etc/apt/keyrings/atelier-amd.asc",
    )
    install = next(step for step in setup.steps if step.arguments[0] == "install")
    assert install.arguments == (
        *("install", "apt", "-", "-", "linux-headers-6.12.48+deb13-amd64", "linux-headers-amd64"),
        *("amdgpu-dkms", "amdgpu-dkms-firmware"),
    )
    source = after(make_amd_host("debian-13"), setup).files[AMD_APT_SOURCE]
    # Debian 13 takes the packages of Ubuntu 24.04
    assert "URIs: https://repo.radeon.com/amdgpu/31.40.1/ubuntu\nSuites: noble\n" in source
    assert setup.amd is not None
    assert setup.amd.text == "amdgpu 31.40.1, built on the host, AMD's repository"
    assert setup.reboot == ""


@pytest.mark.parametrize(
    ("release", "card", "kernel", "source"),
    [
        ("debian-13", "rx-7900-xtx", "", "distribution"),
        ("debian-12", "rx-7900-xtx", "", "vendor"),
        ("debian-13", "r9700", "", "vendor"),
        ("ubuntu-26.04", "r9700", "", "distribution"),
        ("ubuntu-24.04", "r9700", "6.17.0-19-generic", "distribution"),
        ("ubuntu-26.04", "strix-halo", "", "distribution"),
        ("ubuntu-24.04", "strix-halo", "6.17.0-1008-oem", "distribution"),
        ("debian-13", "strix-halo", "6.18.5+deb13-amd64", "distribution"),
        ("ubuntu-26.04", "mi300x", "", "vendor"),
        ("rhel-9", "rx-7900-xtx", "", "vendor"),
        ("rhel-10", "mi300x", "", "vendor"),
    ],
)
def test_the_kernels_own_driver_where_it_is_new_enough(
    release: str, card: str, kernel: str, source: str
) -> None:
    state = make_amd_host(release, card, **({"kernel": kernel} if kernel else {}))
    choice = plan(declare(), state).amd
    assert choice is not None
    assert choice.source == source


def test_the_kernels_own_driver_needs_firmware() -> None:
    state = make_amd_host("debian-13", "rx-7900-xtx")
    setup = plan(declare(), state)
    assert words(setup) == ["install AMD driver", "load module amdgpu"]
    install = setup.steps[0].arguments
    assert install == ("install", "apt", "-", "-", "firmware-amd-graphics")
    # amdgpu looked for it when the host started
    loaded = replace(state, loaded=LOADED, amd=Amd(missing_firmware=("amdgpu/psp.bin",)))
    setup = plan(declare(), loaded)
    assert words(setup) == ["install AMD driver"]
    assert setup.reboot == "amdgpu was loaded before its firmware was there"
    # a second run does not begin anew
    again = plan(declare(), after(loaded, setup))
    assert (again.steps, again.reboot) == ((), setup.reboot)


def test_modules_of_ubuntu_that_are_in_a_package_of_their_own() -> None:
    state = make_amd_host("ubuntu-26.04", "r9700", amd=Amd(has_own_module=False))
    assert "linux-modules-extra-7.0.0-10-generic" in plan(declare(), state).steps[0].arguments


def test_rhel_has_a_folder_for_each_minor_release() -> None:
    state = make_amd_host("rhel-9")
    setup = plan(declare(), state)
    text = after(state, setup).files[AMD_DNF_SOURCE]
    assert "baseurl=https://repo.radeon.com/amdgpu/31.40.1/el/9.6/main/x86_64/\n" in text
    install = next(step for step in setup.steps if step.arguments[0] == "install")
    assert install.arguments[:5] == (
        *("install", "dnf", "-", "-", "kernel-devel-5.14.0-570.el9.x86_64"),
    )


def test_a_mirror() -> None:
    mirror = {"repository": "https://mirror.lab/amd", "key_fingerprint": "B" * 40}
    setup = plan(declare(**mirror), make_amd_host("ubuntu-24.04"))
    assert setup.steps[0].arguments[1:3] == ("https://mirror.lab/amd/rocm.gpg.key", "B" * 40)
    assert setup.amd is not None
    assert setup.amd.repository == "https://mirror.lab/amd/31.40.1/ubuntu"


def test_a_driver_that_serves_is_left_alone() -> None:
    """Even one that is older than what Atelier would take."""
    theirs = make_amd_host("debian-13", amd=SERVES, loaded=LOADED)
    assert plan(declare(), theirs) == HostSetup()
    of_amd = replace(theirs, amd=replace(SERVES, loaded_version="6.10.5", disk_version="6.10.5"))
    assert plan(declare(), of_amd) == HostSetup()
    upgrade = plan(declare(version="30.30.3"), of_amd)
    assert "upgrade AMD driver" in words(upgrade)
    assert upgrade.reboot == "amdgpu 6.10.5 is loaded, and amdgpu 30.30.3 is installed"


def test_a_version_that_is_declared_brings_packages_of_that_version() -> None:
    older = settle(declare(version="30.30.3"), make_amd_host("ubuntu-24.04"))
    assert older.packages["amdgpu-dkms"].version == "1:6.16.13.30.30.3-1"
    assert plan(declare(), older).changes == ()
    newer = plan(declare(version="31.40.1"), older)
    assert "upgrade AMD driver" in words(newer)
    assert newer.reboot == "amdgpu 6.16.13 is loaded, and amdgpu 31.40.1 is installed"
    # a run that was cut there goes on with the restart, although the old module still serves
    cut = after(older, newer)
    assert plan(declare(version="31.40.1"), cut).steps == ()
    assert "another amdgpu-dkms, 6.16.13, is installed" in plan(declare(), cut).reboot
    done = settle(declare(version="31.40.1"), older)
    assert done.packages["amdgpu-dkms"].version == "1:6.16.13.31.40.1-1"
    assert "/31.40.1/ubuntu" in done.files[AMD_APT_SOURCE]


def test_a_build_that_failed_is_tried_again() -> None:
    half = {"amdgpu-dkms": Package("iF ", "1:6.16.13.31.40.1-1")}
    assert "repair AMD driver" in words(plan(declare(), make_amd_host(packages=half)))


def test_a_kernel_without_a_module_of_amd() -> None:
    state = settle(declare(), make_amd_host("ubuntu-24.04"))
    lost = replace(
        state, loaded=frozenset(), amd=Amd(module_kernels=frozenset({"6.8.0-9-generic"}))
    )
    assert words(plan(declare(), lost)) == ["build module amdgpu", "load module amdgpu"]
    newer = replace(lost, amd=Amd(module_kernels=frozenset({"6.8.0-99-generic"})))
    assert plan(declare(), newer).reboot == (
        "there is a module for kernel 6.8.0-99-generic, and 6.8.0-87-generic runs"
    )


def test_the_graphics_of_a_processor_want_no_driver() -> None:
    """Of a host with NVIDIA's cards: they are what is declared, or all that is known."""
    graphics = PciGpu("0000:0a:00.0", "amd", "164e", "Raphael")
    state = make_nvidia_host()
    mixed = replace(state, cards=(*state.cards, graphics))
    assert plan(declare(), mixed).amd is None
    assert plan(declare("1x h100"), mixed).choice is not None


def test_both_vendors() -> None:
    state = make_nvidia_host("ubuntu-24.04")
    both = replace(state, cards=(*state.cards, *make_amd_host().cards))
    setup = plan(declare("1x h100, 1x mi300x"), both)
    assert setup.choice is not None
    assert setup.amd is not None


@pytest.mark.parametrize(
    ("state", "declared", "message"),
    [
        (make_nvidia_host(), {"gpus": "1x mi300x"}, "there is none on the bus that Atelier knows"),
        (make_amd_host(), {"gpus": "1x h100"}, "there is no NVIDIA card on the bus: mi300x"),
        (make_amd_host(), {"branch": "580"}, "branch='580' for AMD's cards"),
        (make_amd_host(), {"flavour": "open"}, "flavour='open' for AMD's cards"),
        (make_amd_host(secure_boot=True), {}, "Secure Boot is on, and the kernel refuses amdgpu"),
        (make_amd_host(), {"source": "distribution"},
         "no amdgpu of a kernel of debian-13 is known to serve gfx942"),
        (make_amd_host("debian-12", "rx-7900-xtx"), {"source": "distribution"},
         "kernel 6.1.0-56-amd64 is older than the first for gfx1100, 6.12"),
        (make_amd_host("debian-13", "strix-halo"), {},
         "kernel 6.12.48+deb13-amd64 is older than the first for gfx1151, 6.18.4"),
        (make_amd_host("ubuntu-24.04", "strix-halo"), {}, "linux-generic-hwe-24.04"),
        (make_amd_host("ubuntu-26.04", "strix-halo"), {"version": "31.40.1"},
         "AMD's own driver is not for gfx1151"),
        (make_amd_host("rhel-9", "strix-halo"), {}, "no amdgpu of a kernel of rhel-9 is known"),
        (replace(make_amd_host("rhel-9"), system=replace(make_amd_host("rhel-9").system,
         version="9.5")), {}, "AMD has no packages for rhel-9 (9.5)"),
        (make_amd_host("debian-13", "rx-7900-xtx", amd=Amd(has_own_module=False)), {},
         "has no module amdgpu"),
        (replace(make_amd_host(), system=replace(make_amd_host().system, id="alpine")), {},
         "AMD's driver cannot be installed on debian-13"),
        (replace(make_amd_host(), system=replace(make_amd_host().system, kernel="Linux aarch64")),
         {}, "AMD has no driver for arm64"),
        (replace(make_amd_host(), system=replace(make_amd_host().system, is_root=False)), {},
         "only root can do this"),
        (make_amd_host(boot_free_bytes=2**20), {}, "1 MiB free in /boot"),
        (make_amd_host(usr_free_bytes=2**30), {}, "1024 MiB free in /usr"),
        (make_amd_host("debian-13", "rx-7900-xtx", loaded=LOADED, amd=Amd(has_kfd=False),
         packages={"firmware-amd-graphics": Package("ii", "1")}), {},
         "amdgpu is loaded, and there is no /dev/kfd"),
        (make_amd_host("debian-13", "rx-7900-xtx", packages={"amdgpu-dkms": Package("ii", "1")}),
         {"source": "distribution"}, "amdgpu-dkms is installed, which the kernel takes first"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(
    state: DriverState, declared: dict[str, Any], message: str
) -> None:
    with pytest.raises(HostError) as refused:
        plan(declare(**declared), state)
    assert message in str(refused.value)
    assert "fix: " in str(refused.value)


def test_the_kernels_own_driver_is_no_trouble_with_secure_boot() -> None:
    assert plan(declare(), make_amd_host("debian-13", "rx-7900-xtx", secure_boot=True)).steps


def test_cards_of_the_catalogue_have_the_instruction_set_that_it_says() -> None:
    catalog = load_catalog()
    for gfx, card in catalog.amd_cards.items():
        for name in filter(None, card.devices.values()):
            assert catalog.gpus[name].gfx == gfx
        assert card.vendor or card.first_kernel
    named = {name for card in catalog.amd_cards.values() for name in card.devices.values() if name}
    assert named == {name for name, gpu in catalog.gpus.items() if gpu.vendor == "amd"}


hosts = st.builds(
    make_amd_host,
    st.sampled_from(sorted(KERNELS)),
    st.sampled_from(["mi300x", "mi210", "rx-7900-xtx", "r9700"]),
    loaded=st.sampled_from([frozenset(), LOADED]),
    packages=st.sampled_from(
        [{}, {"amdgpu-dkms": Package("iF ", "1:6.1.31400100-1")}, {"linux-firmware": Package("ii")}]
    ),
)
settings = st.fixed_dictionaries(
    {},
    optional={
        "source": st.just("vendor"),
        "version": st.sampled_from(["30.30.3", "31.40.1"]),
        "reboot": st.sampled_from(["ask", "allowed", "never"]),
    },
)


def with_firmware_missing(state: DriverState) -> DriverState:
    """An amdgpu that is loaded on a bare host has not found its firmware."""
    missing = ("amdgpu/psp.bin",) if "amdgpu" in state.loaded else ()
    return replace(state, amd=replace(state.amd, missing_firmware=missing))


@given(hosts, settings)
def test_what_it_decides_is_enough(state: DriverState, declared: dict[str, Any]) -> None:
    """After its steps, and a restart where it asks for one, there is nothing left to do."""
    state = with_firmware_missing(state)
    spec = declare(**declared)
    first = plan(spec, state)
    done = after(state, first)
    if first.reboot:
        assert plan(spec, done).steps == ()
        assert plan(spec, done).reboot
        done = restarted(done)
    assert plan(spec, done).steps == ()
    assert plan(spec, done).changes == ()
    assert plan(spec, done).reboot == ""


@given(hosts, settings, st.integers(0, 8))
def test_a_run_that_was_cut_is_gone_on_with(
    state: DriverState, declared: dict[str, Any], number: int
) -> None:
    """After any number of its steps, the next run reaches the same state."""
    state = with_firmware_missing(state)
    spec = declare(**declared)
    first = plan(spec, state)
    cut = after(state, replace(first, steps=first.steps[:number]))
    end, direct = settle(spec, cut), settle(spec, state)
    assert end == direct


@given(hosts, settings, settings)
def test_what_it_did_it_never_undoes(
    state: DriverState, declared: dict[str, Any], later: dict[str, Any]
) -> None:
    """What serves stays when less is asked for than before, even nothing."""
    state = with_firmware_missing(state)
    done = settle(declare(**declared), state)
    assert plan(declare(), done).changes == ()
    if "version" not in later and "source" not in later:
        assert plan(declare(**later), done).changes == ()


def test_every_card_is_made_up_for_some_test() -> None:
    devices = {device for card in load_catalog().amd_cards.values() for device in card.devices}
    assert {device for device, _ in CARDS.values()} <= devices
