"""Each of many deployments becomes every other one: nothing is left as it was, or in the way."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.catalog import load_catalog
from tests.conftest import MakeArtefacts
from tests.operations.transitions import away_together, carry_out

TINY = str(load_catalog().models["tiny-coder"].path)
TWICE = [{"name": "tiny-coder", "replicas": 2}]
NATIVE = {"engines": "native", "programs": {"llama-server": {"path": "/usr/bin/llama-server"}}}
Deployments = dict[str, dict[str, Any]]


def host(name: str, number: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "address": f"10.0.0.{number}"} | more


def file(name: str, **more: Any) -> dict[str, Any]:
    """A model of its own file."""
    return {"name": name, "path": TINY, "roles": ["chat"]} | more


A, B, C = host("a", 1), host("b", 2), host("c", 3)
A_NATIVE, B_NATIVE = A | NATIVE, B | NATIVE
PORTS: dict[str, Any] = {"engine": {"port": 4000}, "router": {"port": 8000}}
"""Exchanged, from what they are by default."""

ON_CPUS: Deployments = {
    "one": {"hosts": [A]},
    "its web UI": {"hosts": [A], "web_ui": {}},
    "ports exchanged with the web UI": {
        "hosts": [A],
        "web_ui": {"port": 4000},
        "router": {"port": 3000},
    },
    "two of each": {
        "hosts": [A],
        "web_ui": {"replicas": 2},
        "router": {"replicas": 2},
        "postgres": {},
        "valkey": {},
        "entry": {},
    },
    "an entry": {"hosts": [A], "entry": {}},
    "ports of an entry exchanged": {"hosts": [A], "entry": {"https_port": 80, "http_port": 443}},
    "port of an entry from the router": {
        "hosts": [A],
        "entry": {"https_port": 4000, "http_port": 8081},
        "router": {"port": 4443},
    },
    "two models": {"hosts": [A], "models": [file("m1"), file("m2")]},
    "two others": {"hosts": [A], "models": [file("m3"), file("m4")]},
    "more memory for one of them": {
        "hosts": [A],
        "models": [file("m1", engine={"memory_limit": "5GiB"}), file("m2")],
    },
    "more memory for the other": {
        "hosts": [A],
        "models": [file("m1"), file("m2", engine={"memory_limit": "5GiB"})],
    },
    "Ollama": {"hosts": [A], "engine": {"kind": "ollama"}},
    "a shared Ollama": {"hosts": [A], "engine": {"kind": "ollama", "shared": "desk"}},
    "Aristote": {"hosts": [A], "router": {"kind": "aristote"}, "postgres": {}},
    "both routers": {
        "hosts": [A],
        "routers": [{"kind": "aristote"}, {"port": 4001}],
        "postgres": {},
    },
    "both routers, the other way round": {
        "hosts": [A],
        "routers": [{"port": 4000}, {"kind": "aristote", "port": 4001}],
        "postgres": {},
    },
    "two hosts": {"hosts": [A, B], "models": TWICE},
    "two hosts, the router on the other": {
        "hosts": [A, B],
        "models": TWICE,
        "router": {"host": "b"},
    },
    "an entry on another host": {
        "hosts": [A, B],
        "models": TWICE,
        "entry": {"host": "b"},
        "web_ui": {},
    },
    "another port of links": {"hosts": [A, B], "models": TWICE, "links": {"port": 9443}},
    "names of hosts exchanged": {
        "hosts": [A | {"name": "b"}, B | {"name": "a"}],
        "models": TWICE,
    },
    "three hosts": {
        "hosts": [A, B, C],
        "models": [{"name": "tiny-coder", "replicas": 3}],
        "web_ui": {"host": "c"},
        "entry": {"host": "b"},
    },
    "native": {"hosts": [A_NATIVE, B_NATIVE], "models": TWICE},
    "native, ports exchanged": {"hosts": [A_NATIVE, B_NATIVE], "models": TWICE, **PORTS},
    "native on one of two": {"hosts": [A_NATIVE, B], "models": TWICE},
}

CARD = {"gpus": "1x l40s"}
A_CARD, B_CARD, D_CARD = A | CARD, B | CARD, host("d", 4, **CARD)
VLLM: dict[str, Any] = {"kind": "vllm", "offline": True}
WIDE = VLLM | {"nnodes": 2, "trusted_network": True}
SMALL, MIDDLE, LARGE = (
    {"name": f"qwen2.5-coder-{size}", "roles": ["chat"]} for size in ("0.5b", "1.5b", "7b")
)
ON_C: dict[str, Any] = {"router": {"host": "c"}}

ON_GPUS: Deployments = {
    "small": {"hosts": [A_CARD], "engine": VLLM, "models": [SMALL]},
    "small and large": {"hosts": [A_CARD], "engine": VLLM, "models": [SMALL, LARGE]},
    "large and middle": {"hosts": [A_CARD], "engine": VLLM, "models": [LARGE, MIDDLE]},
    "all three": {"hosts": [A_CARD], "engine": VLLM, "models": [SMALL, MIDDLE, LARGE]},
    "SGLang": {"hosts": [A_CARD], "engine": {"kind": "sglang", "offline": True}, "models": [LARGE]},
    "Ollama": {"hosts": [A_CARD], "engine": {"kind": "ollama"}, "models": [LARGE, SMALL]},
    "Ollama, all three": {
        "hosts": [A_CARD],
        "engine": {"kind": "ollama"},
        "models": [SMALL, MIDDLE, LARGE],
    },
    "Ollama, one of three": {"hosts": [A_CARD], "engine": {"kind": "ollama"}, "models": [SMALL]},
    "llama.cpp": {"hosts": [A_CARD], "models": [{"name": "tiny-coder"}]},
    "replicas": {
        "hosts": [A_CARD, B_CARD],
        "engine": VLLM,
        "models": [LARGE | {"replicas": 2}],
    },
    "shorter replicas": {
        "hosts": [A_CARD, B_CARD],
        "engine": VLLM,
        "models": [LARGE | {"replicas": 2, "max_model_len": 2048}],
    },
    "a host each": {"hosts": [A_CARD, B_CARD], "engine": VLLM, "models": [LARGE, MIDDLE]},
    "the other host each": {
        "hosts": [B_CARD, A_CARD],
        "engine": VLLM,
        "models": [LARGE, MIDDLE],
        "router": {"host": "a"},
    },
    "wide": {"hosts": [A_CARD, B_CARD, C], "engine": WIDE, "models": [LARGE], **ON_C},
    "wide, the other way round": {
        "hosts": [B_CARD, A_CARD, C],
        "engine": WIDE,
        "models": [LARGE],
        **ON_C,
    },
    "wide, on by a host": {
        "hosts": [B_CARD, D_CARD, A_CARD, C],
        "engine": WIDE,
        "models": [LARGE],
        **ON_C,
    },
    "wide, another port": {
        "hosts": [A_CARD, B_CARD, C],
        "engine": WIDE | {"port": 8100},
        "models": [LARGE],
        **ON_C,
    },
    "wide, port of the router": {
        "hosts": [A_CARD, B_CARD],
        "engine": WIDE | {"port": 4000},
        "models": [LARGE],
        "router": {"port": 8000},
    },
    "wide, and another one": {
        "hosts": [A_CARD, B_CARD, D_CARD],
        "engine": VLLM,
        "models": [LARGE | {"engine": WIDE}, SMALL],
    },
}

MAC: dict[str, Any] = {
    "gpus": "mac-studio-256",
    "engines": "native",
    "system": "macos",
    "service_user": "_ollama",
    "programs": {
        "ollama": {"path": "/opt/ollama"},
        "llama-server": {"path": "/opt/llama-server"},
        "haproxy": {"path": "/opt/homebrew/bin/haproxy"},
    },
}
MACS = [A, host("m", 5, **MAC), host("n", 6, **MAC)]
OLLAMA: dict[str, Any] = {"kind": "ollama"}
ON_A: dict[str, Any] = {"router": {"host": "a"}}

ON_MACS: Deployments = {
    "one": {"hosts": MACS[:2], "engine": OLLAMA, "models": [LARGE], **ON_A},
    "two": {"hosts": MACS, "engine": OLLAMA, "models": [LARGE | {"replicas": 2}], **ON_A},
    "ports exchanged with links": {
        "hosts": MACS,
        "engine": OLLAMA | {"port": 8443},
        "models": [LARGE | {"replicas": 2}],
        "links": {"port": 8000},
        **ON_A,
    },
    "two models": {"hosts": MACS[:2], "engine": OLLAMA, "models": [LARGE, MIDDLE], **ON_A},
    "the other one first": {"hosts": MACS[:2], "engine": OLLAMA, "models": [MIDDLE, LARGE], **ON_A},
    "shared": {
        "hosts": MACS[:2],
        "engine": OLLAMA | {"shared": "desk"},
        "models": [LARGE, MIDDLE],
        **ON_A,
    },
    "llama.cpp": {"hosts": MACS[:2], "models": [{"name": "tiny-coder"}], **ON_A},
}


@pytest.mark.parametrize(
    "is_tight",
    [
        pytest.param(False, id="much memory"),
        pytest.param(True, id="little memory", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("deployments", [ON_CPUS, ON_GPUS, ON_MACS], ids=["CPUs", "GPUs", "Macs"])
def test_each_becomes_every_other_one(
    deployments: Deployments, make: MakeArtefacts, *, is_tight: bool
) -> None:
    made: dict[str, Artefacts] = {}
    for name, settings in deployments.items():
        made[name] = make(**{"web_ui": None} | settings)
        # certificates stay those that are kept
        made[name].secrets.save()
    found = {
        f"{one} -> {other}": problems
        for one, other in permutations(made, 2)
        if (problems := carry_out(made[one], made[other], is_tight=is_tight))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("deployments", "one", "other"),
    [
        (ON_MACS, "two", "ports exchanged with links"),
        (ON_CPUS, "native", "native, ports exchanged"),
        (ON_GPUS, "replicas", "shorter replicas"),
    ],
    ids=["with links", "with the router", "alone"],
)
def test_hosts_that_serve_the_same_take_turns_whatever_changes_with_it(
    deployments: Deployments, one: str, other: str, make: MakeArtefacts
) -> None:
    before, after = (make(**{"web_ui": None} | deployments[name]) for name in (one, other))
    before.secrets.save()
    assert away_together(before, after) == []
