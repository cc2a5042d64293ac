"""What atelier doctor says of hosts."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.catalog import Catalog
from deploy.hosts.checks import host_findings
from deploy.hosts.connection import explain
from deploy.hosts.finding import Finding
from deploy.hosts.gpu_checks import gpu_findings
from deploy.hosts.state import (
    DockerState,
    FileSystem,
    Gpu,
    GpuState,
    HostState,
    PciGpu,
    Surroundings,
    System,
)
from deploy.hosts.subject import Subject
from deploy.hosts.surroundings import library_urls, registry_of, surroundings_findings
from deploy.operations.questions import subject_of
from deploy.spec import HostSpec
from tests.conftest import MakeArtefacts
from tests.services.test_gpu_engines import made

GIB = 1024**3
GOOD = HostState(
    engine_version="24.0.5",
    memory_bytes=64 * GIB,
    file_systems={"images": FileSystem("/", "1", 100 * GIB)},
    system=System(id="debian", name="Debian 12", kernel="Linux x86_64"),
)
FULL = {"images": FileSystem("/", "1", 0)}
CARD = Gpu("nvidia", "NVIDIA GeForce RTX 3090", 24576)
PCI = PciGpu("0000:01:00.0", "nvidia", "2204", "GA102 [GeForce RTX 3090]")


def look(demo: Artefacts, **differences: Any) -> dict[str, Finding]:
    subject = Subject(demo.host("@local"), demo.stack.on("@local"))
    found = host_findings(subject, replace(GOOD, **differences), None, time.time())
    return {finding.name: finding for finding in found}


def test_a_good_host(demo: Artefacts) -> None:
    found = look(demo, clock_seconds=time.time())
    assert {finding.status for finding in found.values()} == {"ok"}
    assert set(found) == {
        *("operating system", "Docker", "ports", "memory", "disk", "clock"),
    }


@pytest.mark.parametrize(
    ("differences", "name", "status", "words"),
    [
        ({"system": System(id="gentoo", name="Gentoo")}, "operating system", "warning", "Gentoo"),
        ({"clock_seconds": time.time() + 3600}, "clock", "warning", "ahead of this machine's"),
        ({"clock_seconds": time.time() - 3600}, "clock", "warning", "behind this machine's"),
        ({"file_systems": FULL}, "disk", "problem", "0 MiB free on / (images)"),
        ({"listening_ports": frozenset({4000})}, "router.port", "problem", "port 4000 is in use"),
    ],
)
def test_what_is_wrong(
    demo: Artefacts, differences: dict[str, Any], name: str, status: str, words: str
) -> None:
    finding = look(demo, **differences)[name]
    assert finding.status == status
    assert words in finding.found
    assert finding.fix


def test_a_taken_port_of_the_second_router(make: MakeArtefacts) -> None:
    made = make(routers=[{"kind": "aristote"}, {"port": 4001}], postgres={"web_ui": False})
    subject = subject_of(made, "@local")
    taken = replace(GOOD, listening_ports=frozenset({4001}))
    found = {each.name: each for each in host_findings(subject, taken, None, time.time())}
    assert found["routers[1].port"].status == "problem"
    assert found["routers[1].port"].fix.endswith("declare another port for routers[1]")


@pytest.mark.parametrize("setting", ["http_port", "https_port"])
def test_a_taken_port_of_the_entry(make: MakeArtefacts, setting: str) -> None:
    made = make(entry={"http_port": 8080, "https_port": 8443})
    port = {"http_port": 8080, "https_port": 8443}[setting]
    found = look(made, listening_ports=frozenset({port}))
    assert found[f"entry.{setting}"].status == "problem"


def test_a_taken_port_of_a_link(make: MakeArtefacts) -> None:
    hosts = [{"name": "a", "address": "10.0.0.1"}, {"name": "b", "address": "10.0.0.2"}]
    made = make(hosts=hosts, router={"host": "b"}, entry={"host": "a"})
    taken = replace(GOOD, listening_ports=frozenset({8443}))
    found = {
        each.name: each for each in host_findings(subject_of(made, "b"), taken, None, time.time())
    }
    assert found["links.port"].status == "problem"


DAY = 86_400


@pytest.mark.parametrize(
    ("days", "status"), [(-0.9, "warning"), (-1.1, "problem"), (29, "warning"), (31, "problem")]
)
@pytest.mark.parametrize("host", ["a", "b"])
def test_a_clock_that_breaks_links(
    make: MakeArtefacts, host: str, days: float, status: str
) -> None:
    """At either end: a server, and an entry that asks it."""
    hosts = [{"name": "a", "address": "10.0.0.1"}, {"name": "b", "address": "10.0.0.2"}]
    made = make(hosts=hosts, router={"host": "b"}, entry={"host": "a"})
    now = time.time()
    found = host_findings(
        subject_of(made, host), replace(GOOD, clock_seconds=now + days * DAY), None, now
    )
    [clock] = [finding for finding in found if finding.name == "clock"]
    assert clock.status == status
    assert ("links" in clock.allowed) == (status == "problem")


@pytest.mark.parametrize(
    ("version", "daemon_json", "declared", "status", "words"),
    [
        ("20.10.24", None, {}, "problem", "which has no CDI"),
        (
            "26.1.5",
            None,
            {"docker": "present"},
            "problem",
            "CDI switched off, the way that containers get GPUs",
        ),
        ("26.1.5", '{"features": {"cdi": true}}', {"docker": "present"}, "ok", "26.1.5"),
        ("28.5.2", None, {"docker": "present"}, "ok", "28.5.2"),
        (
            "29.1.0",
            '{"features": {"cdi": false}}',
            {"docker": "present"},
            "problem",
            "switched off",
        ),
        # the deployment switches it on
        ("26.1.5", None, {"docker": "distribution"}, "ok", "26.1.5"),
        ("20.10.24", None, {"gpu_runtime": "nvidia"}, "ok", "20.10.24"),
    ],
)
def test_cdi_in_docker(
    tmp_path: Path,
    version: str,
    daemon_json: str | None,
    declared: dict[str, Any],
    status: str,
    words: str,
) -> None:
    host = {"name": "gpu1", "gpus": "2x l40s", "gpu_runtime": "cdi"} | declared
    deployed = made(tmp_path, hosts=[host])
    subject = Subject(deployed.host("gpu1"), deployed.stack.on("gpu1"))
    docker = DockerState(is_installed=True, answers=True, version=version, daemon_json=daemon_json)
    found = replace(GOOD, engine_version=version)
    rows = host_findings(subject, found, docker, time.time())
    (row,) = [row for row in rows if row.name == "Docker"]
    assert row.status == status
    assert words in row.found
    assert (status == "ok") is not bool(row.fix)


@pytest.mark.parametrize(
    ("runtime", "driver", "is_said"),
    [("nvidia", "systemd", True), ("nvidia", "cgroupfs", False), ("cdi", "systemd", False)],
)
def test_a_cgroup_driver_that_takes_cards_from_containers(
    tmp_path: Path, runtime: str, driver: str, is_said: bool
) -> None:
    deployed = made(tmp_path, hosts=[{"name": "g", "gpus": "2x l40s", "gpu_runtime": runtime}])
    subject = Subject(deployed.host("g"), deployed.stack.on("g"))
    daemon = replace(GOOD.daemon, cgroup_driver=driver)
    found = replace(GOOD, engine_version="29.0.0", daemon=daemon)
    rows = [
        row
        for row in host_findings(subject, found, None, time.time())
        if row.name == "GPU containers"
    ]
    assert bool(rows) is is_said
    assert all("declare gpu_runtime='cdi'" in row.fix for row in rows)


@pytest.mark.parametrize(
    ("listen", "own", "is_said"),
    [
        ("10.0.0.9", {"127.0.0.1", "10.0.0.7"}, True),
        ("10.0.0.7", {"127.0.0.1", "10.0.0.7"}, False),
        ("0.0.0.0", {"127.0.0.1", "10.0.0.7"}, False),  # noqa: S104
        ("127.0.0.1", {"10.0.0.7"}, False),
        ("10.0.0.9", set(), False),
    ],
)
def test_an_address_that_is_not_the_hosts(
    listen: str, own: set[str], is_said: bool, make: MakeArtefacts
) -> None:
    deployed = make(router={"listen": listen})
    subject = Subject(deployed.host("@local"), deployed.stack.units)
    found = replace(GOOD, addresses=frozenset(own))
    rows = [
        row for row in host_findings(subject, found, None, time.time()) if row.name == "address"
    ]
    assert [(row.status, row.found, row.allowed) for row in rows] == [
        (
            "problem",
            "demo-litellm-0 is to listen on 10.0.0.9, which is none of the host's",
            "an address of the host: 10.0.0.7",
        )
    ] * is_said


@pytest.mark.parametrize(
    ("entry", "maps_users", "is_said"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_a_docker_that_makes_root_another_user(
    entry: bool, maps_users: bool, is_said: bool, make: MakeArtefacts
) -> None:
    deployed = make(entry={"http_port": 8080, "https_port": 8443}) if entry else make()
    subject = Subject(deployed.host("@local"), deployed.stack.units)
    found = replace(GOOD, daemon=replace(GOOD.daemon, maps_users=maps_users))
    rows = [
        row for row in host_findings(subject, found, None, time.time()) if "userns" in row.allowed
    ]
    assert bool(rows) is is_said
    assert all(row.status == "problem" and "demo-haproxy-0" in row.found for row in rows)


def gpus(
    catalog: Catalog, declared: list[str], found: GpuState, cuda: dict[str, str] | None = None
) -> list[tuple[str, str, str]]:
    spec = HostSpec(name="h1", gpus=tuple(declared))
    findings = list(gpu_findings(spec, found, catalog, cuda or {}))
    assert all(finding.fix for finding in findings if finding.status != "ok")
    return [(finding.name, finding.status, finding.found) for finding in findings]


def test_gpus_as_declared(catalog: Catalog) -> None:
    found = GpuState((PCI,), (CARD, CARD), "550.90.07", "12.4")
    assert gpus(catalog, ["rtx-3090", "3090"], found, {"vllm": "12.4"}) == [
        ("GPUs", "ok", "2x rtx-3090, as declared"),
        ("GPU driver", "ok", "driver 550.90.07 carries CUDA 12.4"),
    ]
    assert gpus(catalog, [], GpuState()) == [("GPUs", "ok", "none, as declared")]


def test_gpus_that_are_not_there(catalog: Catalog) -> None:
    found = GpuState((PCI,), (CARD,))
    assert gpus(catalog, ["rtx-3090", "rtx-3090"], found) == [
        ("GPUs", "problem", "1x rtx-3090; missing: 1x rtx-3090")
    ]
    assert gpus(catalog, ["h100"], GpuState())[0][1] == "problem"


def test_gpus_that_nobody_declared(catalog: Catalog) -> None:
    assert gpus(catalog, [], GpuState((PCI,), (CARD,))) == [
        ("GPUs", "warning", "1x rtx-3090; not declared: 1x rtx-3090")
    ]


def test_a_driver_that_fails(catalog: Catalog) -> None:
    broken = GpuState((PCI,), driver_error="NVIDIA-SMI has failed because")
    assert gpus(catalog, ["rtx-3090"], broken)[0][:2] == ("GPU driver", "problem")
    assert gpus(catalog, [], broken)[0][:2] == ("GPU driver", "warning")
    [(_, status, found)] = gpus(catalog, ["rtx-3090"], GpuState((PCI,)))
    assert (status, found) == ("problem", "GA102 [GeForce RTX 3090] without a working driver")


@pytest.mark.parametrize(
    ("driver", "image", "status"),
    [("12.4", "13.0", "problem"), ("12.4", "12.9", "warning"), ("13.0", "12.9", "ok")],
)
def test_cuda_of_driver_and_image(catalog: Catalog, driver: str, image: str, status: str) -> None:
    found = GpuState((PCI,), (CARD,), "550.90.07", driver)
    assert gpus(catalog, ["rtx-3090"], found, {"vllm": image})[-1][1] == status


def test_mig(catalog: Catalog) -> None:
    found = GpuState((PCI,), (replace(CARD, mig=True, mig_instances=("1g.10gb",)),))
    assert gpus(catalog, ["rtx-3090"], found)[-1][1:] == (
        "warning",
        "NVIDIA GeForce RTX 3090 is split by MIG: 1g.10gb",
    )


@pytest.mark.parametrize(
    ("reference", "registry"),
    [
        ("ghcr.io/berriai/litellm:v1", "ghcr.io"),
        ("registry.lab:5000/x@sha256:1", "registry.lab:5000"),
        ("localhost/x", "localhost"),
        ("ollama/ollama:0.34.0", "registry-1.docker.io"),
        ("postgres:17", "registry-1.docker.io"),
    ],
)
def test_registry_of(reference: str, registry: str) -> None:
    assert registry_of(reference) == registry


def test_surroundings() -> None:
    found = Surroundings(
        {"a": True, "b": False}, {"https://a/v2/": "401", "https://b:5000/v2/": "curl error 6"}
    )
    assert [(item.name, item.status, item.found) for item in surroundings_findings(found)] == [
        ("DNS", "ok", "a has an address"),
        ("DNS", "warning", "b has no address on the host"),
        ("registry", "ok", "a answers"),
        ("registry", "warning", "b:5000 does not answer the host: curl error 6"),
    ]


@pytest.mark.parametrize(("answer", "status"), [("200", "ok"), ("curl error 28", "warning")])
def test_an_authority_and_the_names_that_it_looks_for(answer: str, status: str) -> None:
    url, own = "https://ca.lab/directory", "ai.lab.example"
    found = Surroundings({"ca.lab": True, own: False}, {url: answer})
    [name, _, authority] = surroundings_findings(found, (own,), url)
    assert (name.name, name.status) == ("DNS", "warning")
    assert name.fix.startswith("an authority must find the entry by this name")
    assert (authority.name, authority.status) == ("authority", status)


@pytest.mark.parametrize(
    ("answer", "status"), [("404", "ok"), ("000 curl error 6", "warning"), ("000", "warning")]
)
def test_the_library_of_ollama(make: MakeArtefacts, answer: str, status: str) -> None:
    """Asked where a model is pulled from it; what answers need not be a registry's page."""
    pulled = make(engine={"kind": "ollama"}, models=[{"name": "qwen2.5-coder-7b"}])
    (url,) = library_urls(pulled.stack.units)
    (_, found) = surroundings_findings(Surroundings({"a": True}, {url: answer}))
    assert (found.name, found.status) == ("Ollama's library", status)
    created = make(engine={"kind": "ollama"})
    assert library_urls(created.stack.units) == ()


@pytest.mark.parametrize(
    ("message", "fix"),
    [
        (
            "SSH error (StrictPolicy: No host key for gpu1 found in known_hosts)",
            "say yes: ssh -p 2222 me@gpu1;",
        ),
        ("SSH host key error (Host key for gpu1 does not match.)", "ssh-keygen -R '[gpu1]:2222'"),
        ("Could not resolve hostname ([Errno -2] Name or service not known)", "spelling of gpu1"),
        (
            "Authentication error (username=me) (Authentication failed.)",
            "ssh-copy-id -p 2222 me@gpu1",
        ),
        ("Could not connect (no connection to port 2222 of gpu1: Connection refused)", "ssh_port"),
        ("SSH error (ChannelException(1, 'Administratively prohibited'))", "AllowTcpForwarding"),
        ("Could not connect (timed out)", "ssh_jump"),
        ("SSH error (Error reading SSH protocol banner)", "no SSH server"),
        ("SSH error (Incompatible ssh server (no acceptable ciphers))", "aes256-gcm@openssh.com"),
        ("something else", ""),
    ],
)
def test_connection_errors_say_what_to_do(message: str, fix: str) -> None:
    text = explain(message, HostSpec(name="gpu1", ssh_user="me", ssh_port=2222))
    assert (fix in text) if fix else text == ""


NATIVE = {
    "name": "@local",
    "address": "10.0.0.7",
    "engines": "native",
    "programs": {"llama-server": {"path": "/usr/bin/llama-server"}},
}


@pytest.mark.parametrize(
    ("system", "files", "status", "words"),
    [
        ({}, ["/usr/bin/llama-server"], ("ok", ""), "systemd runs"),
        ({"has_systemd": False}, ["/usr/bin/llama-server"], ("problem", ""), "does not run"),
        ({"is_root": False}, ["/usr/bin/llama-server"], ("problem", ""), "is not root"),
        ({}, [], ("ok", "problem"), "/usr/bin/llama-server is not there"),
    ],
)
def test_services_without_a_container(
    make: MakeArtefacts,
    system: dict[str, Any],
    files: list[str],
    status: tuple[str, str],
    words: str,
) -> None:
    artefacts = make(hosts=[NATIVE])
    root: dict[str, Any] = {"has_systemd": True, "is_root": True}
    found = look(
        artefacts,
        system=replace(GOOD.system, **root | system),
        file_sizes=dict.fromkeys(files, 1),
    )
    program = found.get("program", Finding("program", "ok", ""))
    assert found["services"].status == status[0]
    assert program.status == (status[1] or "ok")
    assert words in found["services"].found + program.found


def test_a_host_with_services_alone_needs_no_docker(make: MakeArtefacts) -> None:
    hosts = [NATIVE | {"name": "gpu1"}, {"name": "web", "address": "10.0.0.8"}]
    artefacts = make(hosts=hosts, router={"host": "web"})
    subject = Subject(artefacts.host("gpu1"), artefacts.stack.on("gpu1"))
    found = {
        finding.name: finding.found
        for finding in host_findings(subject, replace(GOOD, engine_version=None), None, time.time())
    }
    assert "Docker" not in found
    assert found["ports"] == "free or ours: 8000"


@pytest.mark.parametrize(
    ("daemon", "listen", "status"),
    [
        ({"forwards": False}, "0.0.0.0", "problem"),  # noqa: S104
        ({"forwards": False}, "127.0.0.1", "warning"),
        ({}, "0.0.0.0", ""),  # noqa: S104
        ({"forwards": False, "operating_system": "Docker Desktop"}, "0.0.0.0", ""),  # noqa: S104
        ({"forwards": False, "is_rootless": True}, "0.0.0.0", ""),  # noqa: S104
    ],
)
def test_a_host_that_passes_no_packets_on(
    daemon: dict[str, Any], listen: str, status: str, make: MakeArtefacts
) -> None:
    """Hardening guides switch forwarding off that Docker had switched on."""
    artefacts = make(router={"port": 4000, "listen": listen}, web_ui=None)
    subject = Subject(artefacts.host("@local"), artefacts.stack.on("@local"))
    found = replace(GOOD, daemon=replace(GOOD.daemon, **daemon))
    rows = [r for r in host_findings(subject, found, None, time.time()) if "ip_forward" in r.found]
    assert [row.status for row in rows] == ([status] if status else [])
    assert [("litellm-0" in row.found) for row in rows] == ([status == "problem"] if rows else [])


@pytest.mark.parametrize(("network", "is_said"), [("host", True), ("demo", False)])
def test_a_rootless_docker_has_no_part_in_the_hosts_network(
    network: str, is_said: bool, make: MakeArtefacts
) -> None:
    """As one replica over several hosts needs."""
    deployed = make()
    [unit, *_] = deployed.stack.units
    node = unit.model_copy(update={"runs": unit.container.model_copy(update={"network": network})})
    subject = Subject(deployed.host("@local"), (node,))
    found = replace(GOOD, daemon=replace(GOOD.daemon, is_rootless=True))
    rows = [r for r in host_findings(subject, found, None, time.time()) if "rootless" in r.found]
    assert [row.status for row in rows] == ["problem"] * is_said
    assert all(unit.name in row.found for row in rows)
