"""Macs that cannot be deployed to as they are declared."""

from __future__ import annotations

import re
from typing import Any

import pytest

from deploy.errors import AtelierError
from tests.conftest import MakeArtefacts
from tests.services.test_launchd import MAC, OLLAMA, WEB, on_a_mac

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
    ({"address": "mac.lab"}, {}, "hosts[1].address: 'mac.lab' is a name"),
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
        {"engine": {"kind": "ollama"}},
        "engine.trusted_network: qwen2.5-coder-7b would be in the network of mac: Ollama has no"
        " key, and there is no link to it",
    ),
    ({}, {"router": {"host": "mac"}}, "router.host: 'mac', which runs macOS"),
    ({}, {"web_ui": {"host": "mac"}}, "web_ui.host: 'mac', which runs macOS"),
    ({}, {"entry": {"host": "mac", "names": ["ai.lab"]}}, "entry.host: 'mac', which runs macOS"),
    ({}, {"hosts": [MAC, WEB]}, "router.host: 'mac', which runs macOS"),
    ({}, {"hosts": [MAC]}, "a host with Linux, which is to be declared, too"),
]


@pytest.mark.parametrize(("mac", "more", "message"), CASES)
def test_what_cannot_be(
    make: MakeArtefacts, mac: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(AtelierError, match=re.escape(message)):
        on_a_mac(make, mac=mac, **more)


def test_llama_cpp_serves_on_the_processors_of_other_hosts(make: MakeArtefacts) -> None:
    artefacts = on_a_mac(make, models=[{"name": "tiny-coder"}], engine={"kind": "llama_cpp"})
    assert {replica.host for replica in artefacts.plan.replicas} == {"web"}


def test_llama_cpp_serves_on_gpus_of_other_hosts(make: MakeArtefacts) -> None:
    """A Mac's is not among those that it is placed on, however large."""
    card = {"name": "card", "gpus": "1x rtx-3060", "address": "10.0.0.30"}
    more: dict[str, Any] = {"hosts": [WEB, MAC, card], "engine": {"kind": "llama_cpp"}}
    artefacts = on_a_mac(make, models=[{"name": "tiny-coder"}], **more)
    assert {(replica.host, replica.gpus) for replica in artefacts.plan.replicas} == {("card", (0,))}
    with pytest.raises(AtelierError, match="tiny-coder does not fit on 1x rtx-3060"):
        on_a_mac(make, models=[{"name": "tiny-coder", "weights_gib": 60}], **more)


def test_a_mac_without_its_system(make: MakeArtefacts) -> None:
    """Apple's chips are for hosts with macOS, and its settings as well."""
    with pytest.raises(AtelierError, match="declare system='macos'"):
        make(hosts=[{"name": "mac", "gpus": "mac-studio-256"}])
    with pytest.raises(AtelierError, match="wired_limit_mib without macOS"):
        make(hosts=[{"name": "mac", "wired_limit_mib": 5000}])


def test_trust_that_nothing_needs(make: MakeArtefacts) -> None:
    with pytest.raises(AtelierError, match="or with Ollama on macOS"):
        make(engine=OLLAMA)
