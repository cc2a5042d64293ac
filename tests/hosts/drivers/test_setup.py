"""What is done about drivers on hosts of every kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import HostError
from deploy.hosts.drivers.files import APT_SOURCE, MODPROBE
from deploy.hosts.drivers.host_setup import HostSetup
from deploy.hosts.drivers.reboot import is_in_window
from deploy.hosts.drivers.state import DriverState, Package
from deploy.spec import HostSpec
from tests.hosts.drivers.host import (
    KERNELS,
    after,
    declare,
    make_host,
    needs,
    plan,
    restarted,
    words,
)

KEY = {"key_fingerprint": "A" * 40}


def settle(spec: HostSpec, state: DriverState) -> DriverState:
    """The host when everything was done, restarted where that is asked for."""
    for _ in range(3):
        setup = plan(spec, state)
        if not setup.steps and not setup.reboot:
            return state
        state = after(state, setup)
        state = restarted(state) if setup.reboot else state
    raise AssertionError(setup)


def test_a_bare_debian() -> None:
    setup = plan(declare(), make_host())
    assert words(setup) == [
        "create file /etc/modprobe.d/atelier-nvidia.conf",
        "create file /etc/apt/apt.conf.d/52atelier-nvidia",
        "create file /etc/apt/sources.list.d/atelier-nvidia.sources",
        "create file /etc/apt/preferences.d/atelier-nvidia",
        "install NVIDIA driver",
        "hold packages that only Atelier upgrades",
        "load module nvidia",
        "enable and start unit nvidia-persistenced.service",
        "create file /etc/apt/sources.list.d/atelier-nvidia-toolkit.sources",
        "install NVIDIA container toolkit",
        "hold packages that only Atelier upgrades",
    ]
    assert setup.reboot == ""
    assert setup.steps[0].arguments == (
        "key",
        "https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/3bf863cc.pub",
        "EB693B3035CD5710E231E123A4B469963BF863CC",
        "/etc/apt/keyrings/atelier-nvidia.asc",
    )
    install = next(step for step in setup.steps if step.arguments[0] == "install")
    assert install.arguments == (
        *("install", "apt", "nvidia-driver-pinning-580", "-"),
        *("linux-headers-6.1.0-56-amd64", "linux-headers-amd64"),
        *("nvidia-kernel-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced"),
    )
    installed = next(change for change in setup.changes if change.resource == "NVIDIA driver")
    assert installed.fields[0].new == "580, open kernel modules, NVIDIA's repository"
    assert "because open modules drive Hopper" in installed.diff


@pytest.mark.parametrize(
    ("release", "source", "packages"),
    [
        (
            "ubuntu-24.04",
            None,
            "linux-modules-nvidia-580-server-open-6.8.0-87-generic "
            "linux-modules-nvidia-580-server-open-generic "
            "nvidia-headless-no-dkms-580-server-open nvidia-utils-580-server",
        ),
        (
            "ubuntu-26.04",
            "vendor",
            "nvidia-dkms-580-open nvidia-headless-no-dkms-580-open nvidia-utils-580",
        ),
        ("debian-13", None, "nvidia-kernel-open-dkms nvidia-driver-cuda nvidia-persistenced"),
        ("rhel-9", None, "kmod-nvidia-open-dkms nvidia-driver-cuda nvidia-persistenced"),
    ],
)
def test_packages(release: str, source: Any, packages: str) -> None:
    setup = plan(declare(source=source), make_host(release))
    assert setup.choice is not None
    assert " ".join(setup.choice.packages) == packages


@pytest.mark.parametrize("release", ["rhel-8", "rhel-9", "rhel-10"])
@pytest.mark.parametrize(
    ("branch", "flavour", "stream", "kmod", "fabric"),
    [
        ("580", None, "580-open", "kmod-nvidia-open-dkms", "nvidia-fabric-manager"),
        ("580", "proprietary", "580-dkms", "kmod-nvidia-latest-dkms", "nvidia-fabric-manager"),
        ("595", None, "595-open", "kmod-nvidia-open-dkms", "nvidia-fabricmanager"),
        ("595", "proprietary", "595-dkms", "kmod-nvidia-latest-dkms", "nvidia-fabricmanager"),
        ("620", None, "620-open", "kmod-nvidia-open-dkms", "nvidia-fabricmanager"),
    ],
)
def test_branches_of_the_rhel_family(
    release: str, branch: str, flavour: Any, stream: str, kmod: str, fabric: str
) -> None:
    """A stream of dnf's modules each, and of 10, which has none, versions of the branch."""
    key = KEY if release == "rhel-10" else {}
    setup = plan(declare(branch=branch, flavour=flavour, **key), make_host(release, nvswitches=4))
    install = next(step for step in setup.steps if step.arguments[0] == "install")
    manager, pin, _, *names = install.arguments[1:]
    assert (manager, pin) == (
        "dnf",
        "-" if release == "rhel-10" else f"module nvidia-driver:{stream}",
    )
    versions = [name for name in names if not name.startswith("kernel-devel")]
    assert versions == [
        f"{name}-{branch}.*" for name in (kmod, "nvidia-driver-cuda", "nvidia-persistenced", fabric)
    ]


def test_a_fabric_manager_with_another_name_replaces_the_old_one() -> None:
    host = settle(declare(branch="580"), make_host("rhel-9", nvswitches=4))
    setup = plan(declare(branch="595"), host)
    install = next(step for step in setup.steps if step.arguments[0] == "install")
    assert {"nvidia-fabricmanager-595.*", "nvidia-fabric-manager-"} <= {*install.arguments}
    done = settle(declare(branch="595"), host)
    assert "nvidia-fabric-manager" not in done.packages


@pytest.mark.parametrize(
    ("release", "declared", "found", "fix"),
    [
        ("rhel-9", {"branch": "620", "flavour": "proprietary"}, "branch 620 has none of that", ""),
        ("rhel-8", {"branch": "610"}, "has had no updates since 2026-08", "580, 620, 595"),
        ("ubuntu-24.04", {"branch": "595"}, "has 580", "declare a branch that it has"),
        ("ubuntu-26.04", {"branch": "595", "source": "vendor"}, "has 580", "source='distribution'"),
        ("ubuntu-22.04", {"branch": "620", "source": "vendor"}, "has 580", "branch that it has"),
    ],
)
def test_a_branch_that_a_repository_does_not_have(
    release: str, declared: dict[str, Any], found: str, fix: str
) -> None:
    with pytest.raises(HostError) as refused:
        plan(declare(**declared), make_host(release))
    assert found in str(refused.value)
    assert fix in str(refused.value)


def test_a_newer_kernel_of_ubuntu_has_modules_of_its_own() -> None:
    setup = plan(declare(), make_host("ubuntu-24.04", kernel="6.14.0-33-generic"))
    assert setup.choice is not None
    assert setup.choice.packages[:2] == (
        "linux-modules-nvidia-580-server-open-6.14.0-33-generic",
        "linux-modules-nvidia-580-server-open-generic-hwe-24.04",
    )


def test_old_cards_have_proprietary_modules() -> None:
    setup = plan(declare(), make_host("debian-12", "v100", "a100"))
    assert setup.choice is not None
    assert (setup.choice.branch, setup.choice.flavour) == ("580", "proprietary")
    assert "nvidia-kernel-dkms" in setup.choice.packages
    assert "open modules do not drive Volta, Ampere" in setup.choice.why


def test_switches_need_a_fabric_manager_of_the_same_version() -> None:
    setup = plan(declare(), make_host("ubuntu-24.04", "h100", nvswitches=4))
    assert setup.choice is not None
    assert setup.choice.packages[-1] == "nvidia-fabricmanager-580"
    assert "enable and start unit nvidia-fabricmanager.service" in words(setup)


def test_switches_of_b200_need_a_subnet_manager_as_well() -> None:
    """They are no PCI devices: the cards tell; one alone is in a virtual machine."""
    host = make_host("debian-12", "b200", "b200")
    assert (host.nvswitches, host.has_fabric) == (0, True)
    setup = plan(declare(), host)
    assert setup.choice is not None
    assert setup.choice.packages[-3:] == ("nvidia-fabricmanager", "nvlsm", "infiniband-diags")
    assert "enable and start unit nvidia-fabricmanager.service" in words(setup)
    done = restarted(after(host, setup))
    assert plan(declare(), done) == HostSetup(choice=plan(declare(), done).choice)
    # they have versions of their own
    exact = plan(declare(version="580.178.04"), host)
    install = next(step for step in exact.steps if step.arguments[0] == "install")
    assert {"nvidia-fabricmanager=580.178.04*", "nvlsm"} <= set(install.arguments)
    alone = plan(declare(), make_host("debian-12", "b200"))
    assert alone.choice is not None
    assert "nvlsm" not in alone.choice.packages
    with pytest.raises(HostError) as refused:
        plan(declare(), make_host("ubuntu-24.04", "b200", "b200"))
    assert "has no nvlsm" in str(refused.value)
    assert "declare source='vendor'" in str(refused.value)


def test_a_driver_without_its_fabric_manager_gets_one() -> None:
    """It is there and its modules work, and yet no program can use the cards."""
    bare = make_host("debian-12", "h100", "h100")
    serving = restarted(after(bare, plan(declare(), bare)))
    theirs = replace(serving, files={}, holds=frozenset(), nvswitches=4)
    setup = plan(declare(toolkit="present"), theirs)
    assert setup.choice is not None
    assert setup.choice.packages[-1] == "nvidia-fabricmanager"
    done = restarted(after(theirs, setup))
    assert plan(declare(toolkit="present"), done).steps == ()
    older = done.packages | {"nvidia-fabricmanager": Package("ii", "580.173.02-1")}
    assert replace(done, packages=older).lacks_fabric_manager


def test_a_driver_that_serves_is_left_alone() -> None:
    serving = restarted(after(make_host(), plan(declare(version="580.126.09"), make_host())))
    # somebody else's: nothing of it is Atelier's
    theirs = replace(serving, files={}, holds=frozenset())
    assert plan(declare(toolkit="present"), theirs) == HostSetup()
    assert words(plan(declare(toolkit="present", version="580.178.04"), theirs))[-2:] == [
        "upgrade NVIDIA driver",
        "hold packages that only Atelier upgrades",
    ]


def test_a_driver_that_is_too_old_for_an_image_is_upgraded() -> None:
    old = restarted(after(make_host(), plan(declare(version="580.126.09"), make_host())))
    nvidia = replace(old.nvidia, loaded_version="570.195.03", disk_version="570.195.03",
                     library_version="570.195.03")  # fmt: skip
    old = replace(old, nvidia=nvidia, files={}, packages={})
    assert plan(declare(toolkit="present"), old).steps == ()
    setup = plan(declare(toolkit="present"), old, needs(old, vllm="13.0"))
    assert "upgrade NVIDIA driver" in words(setup)
    assert setup.reboot == "module 570.195.03 is loaded, and branch 580 is installed"


def test_nouveau_wants_a_restart() -> None:
    setup = plan(declare(), make_host(loaded=frozenset({"nouveau"})))
    assert setup.reboot.startswith("the module nouveau is loaded")
    assert "load module nvidia" not in words(setup)
    assert "enable unit nvidia-persistenced.service" in words(setup)


def test_a_build_that_failed_is_tried_again() -> None:
    half = {"nvidia-kernel-open-dkms": Package("iF ", "580.178.04-1")}
    setup = plan(declare(), make_host(packages=half))
    repaired = next(change for change in setup.changes if change.resource == "NVIDIA driver")
    assert repaired.action == "repair"
    assert ("half installed", "nvidia-kernel-open-dkms") in [
        (field.field, field.old) for field in repaired.fields
    ]


def test_a_change_of_flavour_is_one_transaction() -> None:
    state = settle(declare(flavour="proprietary"), make_host("ubuntu-24.04"))
    setup = plan(declare(flavour="open"), state)
    (install,) = [step for step in setup.steps if step.arguments[0] == "install"]
    assert "nvidia-headless-no-dkms-580-server-open" in install.arguments
    assert "nvidia-headless-no-dkms-580-server-" in install.arguments
    assert setup.reboot


def test_a_kernel_without_a_module() -> None:
    """A newer one is what a restart brings; for one that runs already the module is built."""
    state = settle(declare(), make_host())
    nvidia = replace(state.nvidia, disk_version="", loaded_version="", smi_status=9)
    lost = replace(state, loaded=frozenset())
    newer = replace(nvidia, module_kernels=frozenset({"6.1.0-57-amd64"}))
    waiting = plan(declare(), replace(lost, nvidia=newer))
    assert waiting.reboot == "there is a module for kernel 6.1.0-57-amd64, and 6.1.0-56-amd64 runs"
    older = replace(nvidia, module_kernels=frozenset({"6.1.0-9-amd64"}))
    building = plan(declare(), replace(lost, nvidia=older))
    assert words(building) == ["build module nvidia", "load module nvidia"]
    assert building.reboot == ""
    assert settle(declare(), replace(lost, nvidia=older)).nvidia.smi_status == 0


def test_what_apt_lets_go_of_is_held_again() -> None:
    state = settle(declare(version="580.173.02"), make_host())
    setup = plan(declare(version="580.178.04"), state)
    held = [step.arguments[2:] for step in setup.steps if step.arguments[0] == "hold"]
    assert held == [("nvidia-kernel-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced")]
    assert "hold packages that only Atelier upgrades" not in words(setup)


def test_docker_that_runs_is_restarted_for_the_hook() -> None:
    docker = {"docker": "enabled active"}
    assert "restart unit docker.service" in words(plan(declare(), make_host(services=docker)))
    cdi = plan(declare(gpu_runtime="cdi"), make_host(services=docker))
    assert "restart unit docker.service" not in words(cdi)
    assert "create file /etc/systemd/system/docker.service.d/atelier-cdi.conf" in words(cdi)


def test_the_specification_is_of_the_driver_that_works() -> None:
    spec = declare(gpu_runtime="cdi")
    done = settle(spec, make_host())
    assert words(plan(spec, done)) == []
    for devices, version, action in (
        ((), "", "create"),
        (("nvidia.com/gpu=0",), "570.1", "update"),
    ):
        toolkit = replace(done.toolkit, devices=devices, specification_version=version)
        setup = plan(spec, replace(done, toolkit=toolkit))
        assert words(setup) == [f"{action} CDI specification of the GPUs"]
        assert [step.arguments for step in setup.steps] == [("cdi",)]
        # by the hook no one reads it
        assert words(plan(declare(), replace(done, toolkit=toolkit))) == []


def test_a_host_that_must_be_restarted_has_its_specification_afterwards() -> None:
    """The toolkit writes it when the host starts: before, there is no driver that could tell."""
    setup = plan(declare(gpu_runtime="cdi"), make_host(loaded=frozenset({"nouveau"})))
    assert setup.reboot
    assert ("cdi",) not in [step.arguments for step in setup.steps]
    assert "create file /etc/systemd/system/docker.service.d/atelier-cdi.conf" in words(setup)


def test_a_toolkit_of_somebody_else_is_left_alone_and_docker_waits_for_it() -> None:
    theirs = replace(make_host().toolkit, version="1.18.0", devices=("nvidia.com/gpu=0",))
    state = replace(settle(declare(toolkit="present"), make_host()), toolkit=theirs)
    setup = plan(declare(gpu_runtime="cdi"), state)
    assert words(setup) == ["create file /etc/systemd/system/docker.service.d/atelier-cdi.conf"]
    assert plan(declare(gpu_runtime="cdi", toolkit="present"), state).steps == ()


@pytest.mark.parametrize(
    ("state", "declared", "message"),
    [
        (make_host(cards=()), {}, "there is no NVIDIA card on the bus"),
        (make_host(), {"branch": "570"}, "branch 570 has had no updates since 2026-01"),
        (make_host(), {"branch": "600"}, "branch '600' is not known"),
        (make_host("debian-12", "v100"), {"branch": "620"},
         "580 is the last branch for cards of Volta"),
        (make_host("debian-12", "b200"), {"flavour": "proprietary"}, "has none of that kind"),
        (make_host("debian-12", "v100", "b200"), {}, "has no kernel modules for Volta and"),
        (make_host(secure_boot=True), {}, "Secure Boot is on"),
        (make_host(), {"source": "distribution"}, "source='distribution' has 535: branch 535 has"),
        (make_host("rhel-9"), {"source": "distribution"}, "no NVIDIA driver among its packages"),
        (make_host("rhel-10"), {}, "the fingerprint of NVIDIA's key for rhel10 is not known"),
        (make_host(boot_free_bytes=2**20), {}, "1 MiB free in /boot"),
        (replace(make_host(), system=replace(make_host().system, id="alpine")), {},
         "cannot be installed on debian-12"),
        (replace(make_host(), system=replace(make_host().system, is_root=False)), {},
         "only root can do this"),
        (make_host("ubuntu-24.04", packages={"nvidia-dkms-580-open": Package("ii", "580.1")}), {},
         "packages of the other source (vendor) are installed: nvidia-dkms-580-open"),
        (replace(make_host(), system=replace(make_host().system, kernel="Linux riscv64")), {},
         "NVIDIA has no driver for riscv64"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(
    state: DriverState, declared: dict[str, Any], message: str
) -> None:
    with pytest.raises(HostError) as refused:
        plan(declare(**declared), state)
    assert message in str(refused.value)
    assert "fix: " in str(refused.value)


def test_ubuntus_own_modules_are_no_trouble_with_secure_boot() -> None:
    assert plan(declare(), make_host("ubuntu-24.04", secure_boot=True)).steps


def test_present_touches_nothing() -> None:
    assert plan(HostSpec(name="h1", driver="present"), make_host()) == HostSetup()


@pytest.mark.parametrize(
    ("window", "time", "inside"),
    [
        (None, "12:00", True),
        ("02:00-05:00", "02:00", True),
        ("02:00-05:00", "05:00", False),
        ("22:00-05:00", "23:59", True),
        ("22:00-05:00", "04:59", True),
        ("22:00-05:00", "12:00", False),
    ],
)
def test_windows(window: str | None, time: str, inside: bool) -> None:
    assert is_in_window(window, time) is inside


hosts = st.builds(
    make_host,
    st.sampled_from(sorted(KERNELS)),
    st.sampled_from(["v100", "a100", "h100", "b200"]),
    nvswitches=st.sampled_from([0, 4]),
    loaded=st.sampled_from([frozenset(), frozenset({"nouveau"})]),
    services=st.sampled_from([{}, {"docker": "enabled active"}]),
    headers=st.sampled_from([frozenset(), frozenset({"6.1.0-56-amd64"})]),
    packages=st.sampled_from([{}, {"nvidia-driver-cuda": Package("iF ", "580.1-1")}]),
)
declared = st.fixed_dictionaries(
    {},
    optional={
        "branch": st.just("580"),
        "source": st.just("vendor"),
        "version": st.just("580.173.02"),
        "toolkit": st.just("present"),
        "gpu_runtime": st.just("cdi"),
        "reboot": st.sampled_from(["ask", "allowed", "never"]),
    },
)


@given(hosts, declared)
def test_what_it_decides_is_enough(state: DriverState, settings: dict[str, Any]) -> None:
    """After its steps, and a restart where it asks for one, there is nothing left to do."""
    if "nvidia-driver-cuda" in state.packages and settings.get("source") != "vendor":
        state = replace(state, packages={})
    spec = declare(**(settings | KEY))
    first = plan(spec, state)
    done = after(state, first)
    if first.reboot:
        # before the restart there is nothing to do but that: a second run does not begin anew
        assert plan(spec, done).steps == ()
        assert plan(spec, done).reboot
        done = restarted(done)
    assert plan(spec, done).steps == ()
    assert plan(spec, done).changes == ()
    assert plan(spec, done).reboot == ""


@given(hosts, declared, st.integers(0, 12))
def test_a_run_that_was_cut_is_gone_on_with(
    state: DriverState, settings: dict[str, Any], number: int
) -> None:
    """After any number of its steps, the next run reaches the same state."""
    state = replace(state, packages={})
    spec = declare(**(settings | KEY))
    first = plan(spec, state)
    cut = after(state, replace(first, steps=first.steps[:number]))
    end, direct = settle(spec, cut), settle(spec, state)
    ignored = {"services": {}, "boot_id": ""}
    assert replace(end, **ignored) == replace(direct, **ignored)  # type: ignore[arg-type]


@given(hosts)
def test_what_it_did_it_never_undoes(state: DriverState) -> None:
    """Not for an image that wants less, nor after the branch has ended."""
    state = replace(state, packages={})
    spec = declare(**KEY)
    done = settle(spec, state)
    assert plan(spec, done, needs(done, ollama="12.4")).changes == ()
    assert (MODPROBE in done.files) is True
    assert APT_SOURCE not in done.files or "# key " in done.files[APT_SOURCE]
