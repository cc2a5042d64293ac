"""Engines as daemons of a Mac: the property lists that launchd reads, and who reaches them."""

from __future__ import annotations

import plistlib
from typing import Any

import pytest
import yaml

from deploy.artefacts import Artefacts
from deploy.cli.plan_text import plan_text
from deploy.errors import PlanError
from deploy.services import LaunchdSpec, Marks, Tier, Unit
from deploy.spec import DeploymentSpec, SecretName, SecretText
from tests.conftest import MakeArtefacts

PROGRAM = {"archive": "https://lab.example/ollama.tgz", "sha256": "ab" * 32, "version": "0.34.4"}
MAC: dict[str, Any] = {
    "name": "mac",
    "address": "10.0.0.21",
    "system": "macos",
    "sudo": True,
    "gpus": "mac-studio-256",
    "service_user": "ollama",
    "programs": {"ollama": PROGRAM},
}
WEB = {"name": "web", "address": "10.0.0.20"}
OLLAMA = {"kind": "ollama", "trusted_network": True}
# launchd.plist(5), and what kind of value each key has
DOCUMENTED = {
    "Label": str,
    "UserName": str,
    "ProgramArguments": list,
    "EnvironmentVariables": dict,
    "WorkingDirectory": str,
    "RunAtLoad": bool,
    "KeepAlive": bool,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "SoftResourceLimits": dict,
    "HardResourceLimits": dict,
    "StandardOutPath": str,
    "StandardErrorPath": str,
    "Umask": int,
    "StartInterval": int,
}
PROCESS_TYPES = {"Background", "Standard", "Adaptive", "Interactive"}


def on_a_mac(make: MakeArtefacts, mac: dict[str, Any] | None = None, **more: Any) -> Artefacts:
    """The router on one host, and a Mac with a model."""
    settings: dict[str, Any] = {
        "hosts": [WEB, MAC | (mac or {})],
        "models": [{"name": "qwen2.5-coder-7b"}],
        "engine": OLLAMA,
    }
    return make(**settings | more)


def engine_of(artefacts: Artefacts) -> Unit:
    [unit] = [unit for unit in artefacts.stack.on("mac") if unit.tier == Tier.ENGINE]
    return unit


def daemon_of(artefacts: Artefacts) -> LaunchdSpec:
    runs = engine_of(artefacts).runs
    assert isinstance(runs, LaunchdSpec)
    return runs


def property_list_of(unit: Unit, artefacts: Artefacts) -> dict[str, Any]:
    """What launchd reads of a unit; every key is one that it knows."""
    text, _ = unit.create_arguments("demo", artefacts.secrets.digest)
    found: dict[str, Any] = plistlib.loads(text.encode())
    assert {name: type(value) for name, value in found.items()} == {
        name: kind for name, kind in DOCUMENTED.items() if name in found
    }
    return found


def property_list(artefacts: Artefacts) -> dict[str, Any]:
    return property_list_of(engine_of(artefacts), artefacts)


def test_what_launchd_reads(make: MakeArtefacts) -> None:
    found = property_list(on_a_mac(make))
    name = "demo-ollama-qwen2.5-coder-7b-0"
    assert found["Label"] == name
    program, verb = found["ProgramArguments"]
    assert (program, verb) == (f"/var/lib/atelier/programs/ollama/{'ab' * 8}/ollama", "serve")
    assert found["UserName"] == "ollama"
    # without anybody logging in, and again whenever it ends
    assert (found["RunAtLoad"], found["KeepAlive"]) == (True, True)
    assert found["ProcessType"] in PROCESS_TYPES
    assert found["Umask"] == 63
    assert found["StandardOutPath"] == f"/var/log/atelier/{name}.log"
    environment = found["EnvironmentVariables"]
    assert environment["HOME"] == found["WorkingDirectory"] == f"/var/lib/atelier.demo/{name}"
    assert environment["OLLAMA_HOST"] == "10.0.0.21:8000"
    assert environment["OLLAMA_FLASH_ATTENTION"] == "1"
    assert all(isinstance(value, str) for value in environment.values())


def test_the_property_list_follows_from_every_field(make: MakeArtefacts) -> None:
    """A field that is not in it would be in the description alone, and change nothing."""
    runs = daemon_of(on_a_mac(make))
    changes: dict[str, Any] = {
        "command": ("/bin/x",),
        "env": {"A": "1"},
        "user": "nadia",
        "directory": "/x",
        "open_files": 1,
        "restart_seconds": 99,
        "stop_timeout_seconds": 99,
    }
    for name, value in changes.items():
        changed = runs.model_copy(update={name: value})
        assert changed.property_list() != runs.property_list(), name


def test_what_is_written_down_says_what_it_holds(make: MakeArtefacts) -> None:
    artefacts = on_a_mac(make)
    _, text = engine_of(artefacts).create_arguments("demo", artefacts.secrets.digest)
    found = dict(line.split("=", 1) for line in text.splitlines())
    assert found["Deployment"] == "demo"
    assert found["Holds"] == '{"gpus":{"0":0.9},"ports":[8000]}'
    assert "10.0.0.21:8000/api/version" in found["Health"]
    assert found["Listens"] == "10.0.0.21:8000"


def test_another_share_of_the_memory_is_told_from_the_files(make: MakeArtefacts) -> None:
    """It is not in the property list, but in what is written down of it."""
    artefacts = on_a_mac(make)
    runs, secrets = daemon_of(artefacts), artefacts.secrets
    one, two = (runs.facts(Marks("demo", holds), None, secrets) for holds in ("{}", '{"x":1}'))
    assert {name for name in one if one[name] != two[name]} == {"live marks file"}


def test_the_router_reaches_it_at_its_host(make: MakeArtefacts) -> None:
    artefacts = on_a_mac(make)
    [router] = [unit for unit in artefacts.stack.units if unit.runs.service == "litellm"]
    assert (router.host, router.config is not None) == ("web", True)
    assert router.config is not None
    config = yaml.safe_load(str(router.config.files["config.yaml"].content))
    [base] = {row["litellm_params"]["api_base"] for row in config["model_list"]}
    assert base.removesuffix("/v1") == "http://10.0.0.21:8000"
    assert not artefacts.stack.needs_docker("mac")
    assert artefacts.images_on("mac") == ()


def test_a_model_from_a_file_is_read_where_it_is(make: MakeArtefacts) -> None:
    file = {"name": "tiny-coder"}
    unit = engine_of(on_a_mac(make, models=[file | {"config": None}], users=1))
    [model], [copied] = unit.models, unit.model_files
    assert model.modelfile.startswith(f"FROM {copied.path}\n")
    assert copied.path.is_relative_to("/var/lib/atelier/models")


LLAMA = "/opt/llama/llama-server"
FILE: dict[str, Any] = {"models": [{"name": "tiny-coder"}], "users": 1}


def llama_of(make: MakeArtefacts, path: str = LLAMA, **engine: Any) -> tuple[Artefacts, Unit]:
    """llama.cpp on a Mac, behind a link."""
    declared = {"kind": "llama_cpp"} | engine
    programs = {"programs": {"llama-server": {"path": path}}}
    artefacts = on_a_mac(make, mac=programs, engine=declared, **FILE)
    return artefacts, engine_of(artefacts)


def test_llama_cpp_by_metal(make: MakeArtefacts) -> None:
    """All layers on the one device that Metal has, which it does not start without."""
    artefacts, unit = llama_of(make)
    found = property_list_of(unit, artefacts)
    program, *arguments = found["ProgramArguments"]
    assert program == "/opt/llama/llama-server"
    line = " ".join(arguments)
    assert "--device MTL0 --n-gpu-layers all --fit off --split-mode none --main-gpu 0" in line
    assert "--host 127.0.0.1 --port 8000" in line
    assert f"--model {unit.model_files[0].path} --alias tiny-coder" in line
    assert set(found["EnvironmentVariables"]) == {"HOME", "LLAMA_ARG_CACHE_RAM"}
    [replica] = artefacts.plan.replicas
    assert (replica.gpus, replica.is_linked, unit.gpu_shares) == ((0,), True, {0: 0.9})


def test_its_key_is_in_a_file_of_its_account(make: MakeArtefacts) -> None:
    """launchd shows everybody on a Mac the environment of its daemons."""
    artefacts, unit = llama_of(make)
    assert unit.config is not None
    [(name, file)] = unit.config.files.items()
    assert (file.owner, file.mode, file.is_secret) == ("ollama", 0o600, True)
    assert isinstance(file.content, SecretText)
    key = artefacts.secrets.value(SecretName.ENGINE_API_KEY)
    assert artefacts.secrets.render(file.content) == key
    found = property_list_of(unit, artefacts)
    at = found["ProgramArguments"].index("--api-key-file")
    assert found["ProgramArguments"][at + 1] == f"{unit.config.directory}/{name}"
    assert key not in "".join(unit.create_arguments("demo", artefacts.secrets.digest))


def test_llama_cpp_needs_the_same_memory_as_ollama(make: MakeArtefacts) -> None:
    """Both are llama.cpp: weights, cache and buffers of the same file, and a GiB for the server."""
    _, llama = llama_of(make, max_num_seqs=2, max_model_len=2048)
    engine = {"kind": "ollama", "max_num_seqs": 2, "max_model_len": 2048}
    ollama = engine_of(on_a_mac(make, engine=engine, **FILE))
    assert llama.runs.memory_bytes == ollama.runs.memory_bytes > 3 * 1024**3


@pytest.mark.parametrize(("limit", "usable"), [(None, 192.0), (240 * 1024, 240.0)])
def test_the_model_has_what_the_gpu_may_have(
    make: MakeArtefacts, limit: int | None, usable: float
) -> None:
    """A Mac has one memory; macOS gives its GPU 75 % of it, unless another limit is set."""
    artefacts = on_a_mac(make, mac={"wired_limit_mib": limit})
    assert artefacts.plan.host("mac").usable_gib == (usable,)
    assert f"] {usable:.1f} GiB" in "\n".join(line.plain for line in plan_text(artefacts.plan))


def test_a_model_that_needs_a_higher_limit(make: MakeArtefacts) -> None:
    """235 billion parameters in 4 bits do not fit into 75 % of 192 GB."""
    large = [{"name": "qwen3-235b-a22b", "weights": "qwen3:235b"}]
    with pytest.raises(PlanError, match="does not fit on 1x mac-studio-192"):
        on_a_mac(make, models=large, mac={"gpus": "mac-studio-192"})
    mac = {"gpus": "mac-studio-192", "wired_limit_mib": 180 * 1024}
    [replica] = on_a_mac(make, models=large, mac=mac).plan.replicas
    assert replica.memory is not None
    assert 130 < replica.memory.total_gib < 180
    # of the machine it needs what it has on the GPU, a GiB for itself and two for prompts
    needs_gib = replica.memory_limit_bytes / 1024**3
    assert needs_gib == pytest.approx(replica.memory.total_gib + 3, abs=0.01)


def test_a_host_with_linux_is_as_it_was(make: MakeArtefacts) -> None:
    spec: DeploymentSpec = make().spec
    assert (spec.hosts[0].system, spec.hosts[0].engines) == ("linux", "containers")
