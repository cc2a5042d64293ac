"""Macs that cannot be deployed to as they are declared."""

from __future__ import annotations

import re
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.cli.plan_text import plan_text
from deploy.errors import AtelierError
from tests.conftest import MakeArtefacts
from tests.services.test_launchd import MAC, OLLAMA, PROGRAM, WEB, on_a_mac

CASES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"gpus": "2x mac-studio-256"}, {}, "hosts[1].gpus: 'mac-studio-256', 'mac-studio-256'"),
    ({"gpus": ()}, {}, "hosts[1].gpus: none"),
    ({"gpus": "l40s"}, {}, "hosts[1].gpus: 'l40s'"),
    (
        {"wired_limit_mib": 260_000},
        {},
        "hosts[1].wired_limit_mib: 260000 of 262144 MiB\n    allowed: at most 253952, which",
    ),
    ({"wired_limit_mib": 100}, {}, "hosts[1].wired_limit_mib"),
    ({"driver": {}}, {}, "driver on macOS"),
    ({"mig": {0: ["1g.10gb"]}}, {}, "mig on macOS"),
    ({"docker": "distribution"}, {}, "docker on macOS"),
    ({"power_limit_watts": 100}, {}, "power_limit_watts on macOS"),
    ({"engines": "containers"}, {}, "engines='containers' on macOS, whose containers do not reach"),
    ({"service_user": None}, {}, "none as service_user on macOS"),
    ({"service_user": "root"}, {}, "root as service_user on macOS"),
    ({"name": "@local"}, {}, "'@local' with system='macos'"),
    ({"programs": {}}, {}, "hosts[1].programs: no 'ollama', which ollama needs"),
    (
        {"address": "mac.lab"},
        {},
        "hosts[1].address: 'mac.lab' is a name\n    allowed: an IP address of",
    ),
    (
        {"address": "mac.lab"},
        {"engine": {"kind": "ollama"}},
        "hosts[1].address: 'mac.lab' is a name: a link ends on an address",
    ),
    (
        {"address": "127.0.0.1"},
        {"engine": {"kind": "ollama"}},
        "hosts[1].address: 127.0.0.1, which the router on web does not reach",
    ),
    (
        {"address": "0.0.0.0"},  # noqa: S104 - refused
        {"engine": {"kind": "ollama"}},
        "hosts[1].address: 0.0.0.0, which the router on web does not reach",
    ),
    ({}, {"engine": {"kind": "vllm"}}, "vLLM does not run on Apple GPUs"),
    ({}, {"engine": {"kind": "sglang"}}, "SGLang does not run on Apple GPUs"),
    ({}, {"engine": OLLAMA | {"tensor_parallel_size": 2}}, "engine.tensor_parallel_size: ollama"),
    (
        {},
        {"engine": OLLAMA | {"memory_limit": "8GiB"}},
        "engine.memory_limit: declared for qwen2.5-coder-7b on mac, whose launchd limits no memory",
    ),
    (
        {},
        {"engine": OLLAMA | {"env": {"HF": {"env": "HOME"}}}},
        "engine.env.HF: a secret for qwen2.5-coder-7b, which runs under launchd on mac",
    ),
    (
        {},
        {"engine": {"kind": "llama_cpp"}, "models": [{"name": "tiny-coder"}]},
        "hosts[1].programs: no 'llama-server', which llama_cpp needs without a container\n"
        "    allowed: the program's archive, or its path on the host\n"
        "    fix: programs={'llama-server': Program(archive=..., sha256=..., version=...)}, or"
        " n_gpu_layers=0 of the engine for CPUs of hosts with Linux",
    ),
    (
        {},
        {"engine": {"kind": "ollama"}, "links": {"port": 8000}},
        "links.port: 8000, which engine.port is on mac, too",
    ),
    ({}, {"router": {"host": "mac"}}, "router.host: 'mac', which runs macOS"),
    ({}, {"web_ui": {"host": "mac"}}, "web_ui.host: 'mac', which runs macOS"),
    ({}, {"entry": {"host": "mac", "names": ["ai.lab"]}}, "entry.host: 'mac', which runs macOS"),
    ({}, {"hosts": [MAC, WEB]}, "router.host: 'mac', which runs macOS"),
    ({}, {"hosts": [MAC]}, "a host with Linux: declare one"),
]


@pytest.mark.parametrize(("mac", "more", "message"), CASES)
def test_what_cannot_be(
    make: MakeArtefacts, mac: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(AtelierError, match=re.escape(message)):
        on_a_mac(make, mac=mac, **more)


TINY: dict[str, Any] = {"models": [{"name": "tiny-coder"}]}


def test_llama_cpp_serves_on_the_processors_of_other_hosts(make: MakeArtefacts) -> None:
    artefacts = on_a_mac(make, engine={"kind": "llama_cpp", "n_gpu_layers": 0}, **TINY)
    assert {replica.host for replica in artefacts.plan.replicas} == {"web"}


def test_the_processor_of_a_mac_serves_nothing(make: MakeArtefacts) -> None:
    """Where no host is without GPUs, a Mac's turn would come."""
    hosts = [WEB | {"gpus": "1x rtx-3060"}, MAC | {"programs": {"llama-server": PROGRAM}}]
    models = [{"name": "tiny-coder", "replicas": 2}]
    engine = {"kind": "llama_cpp", "n_gpu_layers": 0}
    with pytest.raises(AtelierError, match="0 for tiny-coder on mac, whose one memory is its GPU"):
        on_a_mac(make, hosts=hosts, engine=engine, models=models)


def test_a_network_of_a_mac_that_is_trusted(make: MakeArtefacts) -> None:
    """What inventories had to declare before there were links to Macs is what they still get."""
    linked, trusted = on_a_mac(make, engine={"kind": "ollama"}), on_a_mac(make, engine=OLLAMA)
    assert [each.is_linked for each in linked.plan.replicas] == [True]
    assert [each.is_linked for each in trusted.plan.replicas] == [False]
    assert trusted.plan.links is None
    assert "reached over TLS, at port 8443 of mac" in plan_of(linked)
    assert "reached without TLS, at port 8000 of mac" in plan_of(trusted)


def plan_of(artefacts: Artefacts) -> str:
    return " ".join("\n".join(line.plain for line in plan_text(artefacts.plan)).split())


def test_haproxy_is_a_program_of_macs(make: MakeArtefacts) -> None:
    host = {"name": "h1", "engines": "native", "programs": {"haproxy": PROGRAM}}
    with pytest.raises(AtelierError, match="'haproxy' in programs of a host with Linux"):
        make(hosts=[host])


def test_a_mac_without_its_system(make: MakeArtefacts) -> None:
    """Apple's chips are for hosts with macOS, and its settings as well."""
    with pytest.raises(AtelierError, match="declare system='macos'"):
        make(hosts=[{"name": "mac", "gpus": "mac-studio-256"}])
    with pytest.raises(AtelierError, match="wired_limit_mib without macOS"):
        make(hosts=[{"name": "mac", "wired_limit_mib": 5000}])


def test_trust_that_nothing_needs(make: MakeArtefacts) -> None:
    with pytest.raises(AtelierError, match="or on macOS"):
        make(engine=OLLAMA)
