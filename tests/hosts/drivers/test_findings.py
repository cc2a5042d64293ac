"""What doctor says of each state that drivers can be in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.catalog import load_catalog
from deploy.facts.drivers import Drivers
from deploy.hosts.drivers.checks import all_gpu_findings
from deploy.hosts.drivers.state import Amd, DriverState, GpuSettings, Package
from deploy.hosts.finding import Finding
from deploy.hosts.state import Gpu, GpuState, PciGpu
from deploy.spec import DriverSpec, HostSpec
from tests.hosts.drivers.amd_host import make_amd_host
from tests.hosts.drivers.host import TODAY, make_host

FIXTURES = Path(__file__).parents[2] / "facts" / "fixtures" / "drivers"
CARD = Gpu(
    "nvidia", "NVIDIA H100 80GB HBM3", 81559, ecc=True, ecc_pending=True, persistence=True,
    compute_mode="Default", power_watts=700.0, default_power_watts=700.0,
)  # fmt: skip


def read(name: str) -> DriverState:
    return Drivers().process((FIXTURES / f"{name}.txt").read_text().splitlines())


def look(state: DriverState, seen: tuple[Gpu, ...] = (), **declared: Any) -> list[Finding]:
    """What is found where one card is declared for every one on the bus."""
    count = max(len(state.nvidia_cards), 1)
    spec = HostSpec(name="h1", **({"gpus": f"{count}x h100"} | declared))
    status = state.nvidia.smi_status
    found = GpuState(state.cards, seen * count, state.nvidia.loaded_version, "13.0",
                    state.nvidia.smi_said, status)  # fmt: skip
    return list(all_gpu_findings(spec, found, state, {"vllm": "13.0"}, load_catalog(), TODAY))


BROKEN = {
    "no_card": ("missing: 1x h100", "lspci -nn"),
    "bare_debian": ("there is no driver", "declare driver=Driver()"),
    "nouveau": ("nouveau is loaded", "declare driver=Driver()"),
    "other_kernel": (
        "there are modules for other kernels (6.1.0-56-amd64), and none for 6.1.0-57-amd64",
        "install linux-headers-6.1.0-57-amd64, and run: sudo dkms autoinstall",
    ),
    "mismatch": (
        "module 580.173.02 is loaded, its libraries are 580.178.04: containers that run go on, the "
        "next one fails",
        "sudo systemctl reboot",
    ),
    "failed_build": (
        "could not be built for kernel 6.12.118-amd64: /var/lib/dkms/nvidia-current-open",
        "sudo apt-get remove nvidia-open-kernel-dkms nvidia-driver",
    ),
    "secure_boot": ("Secure Boot refuses the module 580.178.04", "mokutil --import"),
    "off_the_bus": (
        "a card has failed: Xid (PCI:0000:19:00): 79, pid=1234, GPU has fallen off the bus.",
        "https://docs.nvidia.com/deploy/xid-errors/",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_drivers_that_do_not_work(name: str) -> None:
    found, fix = BROKEN[name]
    (problem,) = [row for row in look(read(name)) if row.status == "problem"]
    assert found in problem.found
    assert fix in problem.fix


def test_every_state_has_words_of_its_own() -> None:
    said = {name: look(read(name))[0].found for name in BROKEN}
    assert len(set(said.values())) == len(BROKEN)


def test_a_driver_that_serves() -> None:
    found = look(read("serving_ubuntu"), (CARD,), gpu_runtime="cdi")
    assert [(row.name, row.status) for row in found] == [
        ("GPUs", "ok"),
        ("GPU driver", "ok"),
        ("GPU fabric", "problem"),
        ("GPU containers", "ok"),
    ]
    fabric = found[2]
    assert fabric.found == "4 NVSwitch bridges and no fabric manager"
    assert "CUDA ends with error 802" in fabric.allowed


SERVING = replace(read("serving_ubuntu"), nvswitches=0)


@pytest.mark.parametrize(
    ("state", "gpu", "declared", "words"),
    [
        (SERVING, {"ecc_pending": False}, {}, "ECC is on, and off after a restart"),
        (SERVING, {"compute_mode": "Exclusive_Process"}, {}, "only one process at a time"),
        (SERVING, {"persistence": False}, {}, "persistence is off"),
        (SERVING, {"power_watts": 400.0}, {}, "limited to 400 of 700 W"),
        (SERVING, {"mig": True, "mig_instances": ("1g.10gb",)}, {}, "is split by MIG: 1g.10gb"),
        (replace(SERVING, iommu="DMA-FQ"), {}, {}, "the IOMMU translates (DMA-FQ)"),
        (replace(SERVING, toolkit=replace(SERVING.toolkit, version="")), {}, {},
         "nvidia-ctk is not there"),
        (replace(SERVING, toolkit=replace(SERVING.toolkit, is_newer_than_docker=True)), {}, {},
         "installed after Docker started"),
        (replace(SERVING, toolkit=replace(SERVING.toolkit, devices=())), {},
         {"gpu_runtime": "cdi"}, "no CDI specification"),
        (replace(SERVING, toolkit=replace(SERVING.toolkit, specification_version="580.173.02")),
         {}, {"gpu_runtime": "cdi"}, "made for driver 580.173.02, 580.178.04 is loaded"),
        (replace(SERVING, services={"docker": "enabled active"}), {}, {"gpu_runtime": "cdi"},
         "nothing renews the specification"),
    ],
)  # fmt: skip
def test_what_works_less_well(
    state: DriverState, gpu: dict[str, Any], declared: dict[str, Any], words: str
) -> None:
    found = look(state, (replace(CARD, **gpu),), **declared)
    wrong = [row for row in found if row.status != "ok"]
    assert words in wrong[0].found
    assert wrong[0].fix or "W; estimated speeds ignore that" in wrong[0].found
    # it is said once for each card that it concerns
    assert len(wrong) == (2 if gpu else 1)


def test_layouts_that_are_declared() -> None:
    gpu = GpuSettings(mig=True, mig_pending=True, instances=("7g.80gb",), power_watts=300.0)
    divided = replace(CARD, mig=True, mig_instances=("7g.80gb",), power_watts=300.0)
    whole = ["7g.80gb"]
    declared: dict[str, Any] = {"mig": {0: whole, 1: whole}, "power_limit_watts": 300}
    state = replace(SERVING, gpu_settings=(gpu, gpu))
    planned = look(state, (divided,), **declared)
    (row,) = [row for row in planned if row.name == "GPU settings"]
    assert row.status == "ok"
    assert row.found.startswith("the deployment will: create file ")
    assert row.found.endswith("enable unit atelier-gpus.service")
    # neither its layout nor its limit is a surprise then
    assert "warning" not in {row.status for row in planned}
    waiting = replace(state, gpu_settings=(replace(gpu, mig=False, instances=()),))
    (row,) = [row for row in look(waiting, (CARD,), **declared) if row.name == "GPU settings"]
    assert row.found == "the host must be restarted: GPU 0 can be divided only after a restart"


def test_fabric_managers() -> None:
    state = read("serving_ubuntu")
    name = "nvidia-fabricmanager-580"
    for version, service, status in (
        ("580.178.04-1", "enabled active", "ok"),
        ("580.173.02-1", "enabled active", "problem"),
        ("580.178.04-1", "enabled failed", "problem"),
    ):
        package = replace(state.packages["nvidia-utils-580-server"], version=version)
        changed = replace(
            state,
            packages=state.packages | {name: package},
            services={"nvidia-fabricmanager": service},
        )
        (fabric,) = [row for row in look(changed, (CARD,)) if row.name == "GPU fabric"]
        assert fabric.status == status, fabric


def test_a_fabric_manager_without_its_subnet_manager() -> None:
    state = read("serving_ubuntu")
    card = replace(state.cards[0], device="2901")
    package = replace(state.packages["nvidia-utils-580-server"], version="580.178.04-1")
    changed = replace(
        state,
        nvswitches=0,
        cards=(card, card),
        packages=state.packages | {"nvidia-fabricmanager": package},
        services={"nvidia-fabricmanager": "enabled active"},
    )
    (fabric,) = [row for row in look(changed, (CARD,)) if row.name == "GPU fabric"]
    assert (fabric.status, "nvlsm" in fabric.found) == ("problem", True)
    whole = replace(changed, packages=changed.packages | {"nvlsm": package})
    (fabric,) = [row for row in look(whole, (CARD,)) if row.name == "GPU fabric"]
    assert fabric.status == "ok"


AMD_CARD = Gpu("amd", "", 196592, address="0000:83:00.0")
"""As amdgpu reports it: without a name."""
AMD = read("amd")
KERNELS_OWN = replace(AMD.amd, loaded_version="", disk_version="", module_kernels=frozenset())
AMD_STATES = {
    "groups": (AMD, "/dev/kfd and /dev/dri belong to the groups 992", "gpu_groups=(992,)"),
    "firmware": (
        read("amd_without_firmware"),
        "firmware is missing: amdgpu/psp_13_0_0_sos.bin",
        "firmware-amd-graphics",
    ),
    "instruction set": (
        replace(AMD, amd=replace(AMD.amd, gfx=("gfx803",))),
        "gfx803: the ROCm images of the engines are not built for it",
        "",
    ),
    "not loaded": (
        replace(AMD, loaded=frozenset(), amd=replace(KERNELS_OWN, has_kfd=False, gfx=())),
        "the module amdgpu is not loaded",
        "sudo modprobe amdgpu",
    ),
    "no module": (
        replace(AMD, loaded=frozenset(), amd=Amd(has_own_module=False)),
        "kernel 6.12.48+deb13-amd64 has no module amdgpu",
        "sudo apt-get install linux-image-amd64",
    ),
    "secure boot": (
        replace(
            AMD,
            loaded=frozenset(),
            secure_boot=True,
            amd=replace(AMD.amd, has_kfd=False, gfx=(), loaded_version=""),
        ),
        "Secure Boot refuses amdgpu-dkms 6.16.13",
        "mokutil --import",
    ),
    "other version": (
        replace(AMD, amd=replace(AMD.amd, loaded_version="")),
        "amdgpu of the kernel is loaded, and another amdgpu-dkms, 6.16.13, is installed",
        "restart the host",
    ),
    "other build": (
        replace(AMD, amd=replace(AMD.amd, loaded_source="A1", disk_source="B2")),
        "amdgpu 6.16.13 is loaded, and another amdgpu-dkms, 6.16.13, is installed",
        "restart the host",
    ),
    "half installed": (
        replace(AMD, packages={"amdgpu-dkms": Package("iU ")}),
        "half installed: amdgpu-dkms",
        "sudo dpkg --configure -a",
    ),
    "build": (
        replace(
            AMD,
            packages={"amdgpu-dkms": Package("iF ")},
            dkms_errors=("kcl_preempt.h:61:29: error: static declaration of 'migrate_enable'",),
        ),
        "amdgpu could not be built for kernel 6.12.48+deb13-amd64: kcl_preempt.h:61:29",
        "sudo apt-get remove amdgpu-dkms",
    ),
    "too old": (
        make_amd_host("debian-12", "rx-7900-xtx", loaded=frozenset({"amdgpu"})),
        "amdgpu of kernel 6.1.0-56-amd64 is too old: gfx1100 wants kernel 6.12",
        "declare driver=Driver()",
    ),
    "no kfd": (
        replace(AMD, amd=replace(AMD.amd, has_kfd=False, gfx=())),
        "amdgpu is loaded, and there is no /dev/kfd",
        "https://instinct.docs.amd.com/projects/amdgpu-docs/",
    ),
    "no node": (
        replace(AMD, amd=replace(AMD.amd, gfx=())),
        "/dev/kfd is there, and offers no GPU",
        "PCIe atomics",
    ),
}


@pytest.mark.parametrize("name", AMD_STATES)
def test_states_of_amds_driver(name: str) -> None:
    state, found, fix = AMD_STATES[name]
    works = state.amd.has_kfd or "amdgpu" in state.loaded
    rows = look_at_amd(state, works=works)
    assert [row.found for row in rows if found in row.found and fix in row.fix], rows
    assert all(row.fix or row.allowed for row in rows if row.status == "problem")


def look_at_amd(state: DriverState, *, works: bool = True, **declared: Any) -> list[Finding]:
    spec = HostSpec(name="h1", **({"gpus": "1x mi300x"} | declared))
    cards = (replace(AMD_CARD, address=state.cards[0].address),) if works else ()
    found = GpuState(state.cards, cards)
    return list(all_gpu_findings(spec, found, state, {}, load_catalog(), TODAY))


def test_a_card_of_amd_that_serves() -> None:
    """No tool of ROCm is on the host: what the card is follows from its PCI id."""
    found = look_at_amd(AMD, gpu_groups=[44, 992])
    assert [(row.name, row.status, row.found) for row in found] == [
        ("GPUs", "ok", "1x mi300x, as declared"),
        ("GPU driver", "ok", "amdgpu-dkms 6.16.13: gfx942"),
    ]


def test_a_smaller_card_with_the_same_id() -> None:
    """The 7900 XT and the 7900 XTX share one."""
    state = make_amd_host("debian-13", "rx-7900-xtx", amd=Amd(has_kfd=True, gfx=("gfx1100",)))
    name = "Navi 31 [Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M]"
    state = replace(state, cards=(replace(state.cards[0], name=name),))
    small = replace(AMD_CARD, memory_mib=20464, address="0000:00:00.0")
    spec = HostSpec(name="h1", gpus="1x rx-7900-xtx", gpu_groups=[44])
    for card, status in ((small, "problem"), (replace(small, memory_mib=24560), "ok")):
        found = GpuState(state.cards, (card,))
        rows = list(all_gpu_findings(spec, found, state, {}, load_catalog(), TODAY))
        assert rows[0].status == status


def test_the_graphics_of_a_processor_are_not_a_card() -> None:
    graphics = PciGpu("0000:0a:00.0", "amd", "164e", "Raphael")
    state = replace(AMD, cards=(*AMD.cards, graphics))
    both = (AMD_CARD, replace(AMD_CARD, address=graphics.address, memory_mib=512))
    spec = HostSpec(name="h1", gpus="1x mi300x", gpu_groups=[44, 992])
    rows = all_gpu_findings(spec, GpuState(state.cards, both), state, {}, load_catalog(), TODAY)
    assert [row.status for row in rows] == ["ok", "ok"]


def test_the_groups_are_told_before_the_driver_is_there() -> None:
    state = make_amd_host("debian-13", amd=Amd(groups=frozenset({105})))
    found = look_at_amd(state, works=False, driver=DriverSpec())
    assert [(row.name, row.status) for row in found] == [
        *(("GPU driver", "ok"), ("GPUs", "ok"), ("GPU containers", "problem")),
    ]
    assert found[-1].fix == "declare gpu_groups=(105,)"


def test_amd_as_its_own_tools_name_it() -> None:
    found = look(AMD, (Gpu("amd", "AMD Instinct MI300X", 196592),), gpus="1x mi300x")
    (groups,) = [row for row in found if row.name == "GPU containers"]
    assert groups.found == "/dev/kfd and /dev/dri belong to the groups 992"
    assert groups.fix == "declare gpu_groups=(992,)"


def test_what_the_deployment_will_do() -> None:
    found = look(make_host(loaded=frozenset({"nouveau"})), driver=DriverSpec())
    assert [(row.name, row.status) for row in found] == [
        *(("GPU driver", "ok"), ("GPU driver", "warning"), ("GPUs", "ok")),
    ]
    assert found[0].found.startswith("driver 580, open kernel modules, NVIDIA's repository; the")
    assert found[1].found.startswith("the host must be restarted: the module nouveau is loaded")


def test_fewer_cards_than_are_declared() -> None:
    found = look(make_host(), driver=DriverSpec(), gpus="4x h100")
    assert found[-1].found == "1 NVIDIA cards on the bus"
    assert (found[-1].status, found[-1].allowed) == ("problem", "what is declared: 4")


def test_what_cannot_be_installed_is_a_problem() -> None:
    found = look(make_host(secure_boot=True), driver=DriverSpec())
    assert [(row.name, row.status) for row in found] == [("driver", "problem")]
