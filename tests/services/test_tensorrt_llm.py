"""TensorRT-LLM's containers: what it is told, checked against a record of its options."""

import argparse
import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import Deployment
from deploy.artefacts import Artefacts, make_artefacts
from deploy.catalog import load_catalog
from deploy.errors import PlanError
from deploy.services import ContainerSpec, Tier, Unit
from deploy.services.engines import container_port, upstream
from deploy.services.tensorrt_llm import arguments
from deploy.sizing.tensorrt_llm import VERSION
from deploy.sizing.tensorrt_llm_models import SERVED
from tests.golden import assert_golden
from tests.services.profiles import GOLDEN, rendered
from tests.services.tensorrt_llm_options import check_settings, record, recorded_parser

CODER = {"name": "qwen2.5-coder-7b"}


def made(directory: Path, **settings: Any) -> Artefacts:
    defaults = {
        "name": "lab",
        "hosts": [{"name": "gpu1", "gpus": "2x l40s"}],
        "engine": {"kind": "tensorrt_llm"},
        "models": [CODER],
    }
    return make_artefacts(Deployment(**{**defaults, **settings}), directory)


def engine_unit(artefacts: Artefacts) -> Unit:
    return artefacts.stack.tier(Tier.ENGINE)[0]


def container(artefacts: Artefacts) -> ContainerSpec:
    return engine_unit(artefacts).container


def parsed(found: ContainerSpec) -> argparse.Namespace:
    """The arguments, as the program takes them: it refuses what it does not know."""
    assert found.command[:2] == ("trtllm-serve", "serve")
    return recorded_parser().parse_args(found.command[2:])


def file_of(artefacts: Artefacts) -> dict[str, Any]:
    """The file of settings that the arguments name, as the container has it."""
    unit, said = engine_unit(artefacts), parsed(container(artefacts))
    assert unit.config is not None
    path = Path(str(said.config))
    mounts = {str(place): mount for place, mount in unit.container.mounts.items()}
    mount = mounts[str(path.parent)]
    assert (mount.source, mount.read_only) == (str(unit.config.directory), True)
    found: dict[str, Any] = yaml.safe_load(str(unit.config.files[path.name].content))
    check_settings(found)
    return found


def test_the_image_is_of_the_release_that_is_recorded() -> None:
    image = load_catalog().images["tensorrt-llm"]
    assert image.reference == f"nvcr.io/nvidia/tensorrt-llm/release:{VERSION}"
    assert record()["version"] == VERSION


def test_the_record_refuses_what_it_does_not_know() -> None:
    for wrong in (["--served-model-name", "a"], ["--tp_size", "two"], ["--tool_parser", "hermes"]):
        with pytest.raises((argparse.ArgumentError, SystemExit)):
            recorded_parser().parse_args(["model", *wrong])
    wrong_files: tuple[dict[str, Any], ...] = (
        {"kv_cache": {}},
        {"kv_cache_config": {"max_tokens": "9"}},
        {"moe_config": {"backend": "triton"}},
        {"moe_config": {"kernels": "TRITON"}},
    )
    for file in wrong_files:
        with pytest.raises(ValueError, match=r"kv_cache|moe_config"):
            check_settings(file)


def test_what_was_planned_is_said(tmp_path: Path) -> None:
    engine = {"kind": "tensorrt_llm", "tensor_parallel_size": 2, "max_num_seqs": 64}
    artefacts = made(tmp_path, engine=engine, models=[{**CODER, "max_model_len": 16384}])
    found, (replica,) = container(artefacts), artefacts.plan.replicas
    said, file = parsed(found), file_of(artefacts)
    assert (said.model, said.tensor_parallel_size) == ("Qwen/Qwen2.5-Coder-7B-Instruct", 2)
    assert (said.pipeline_parallel_size, said.backend) == (1, "pytorch")
    assert (said.host, said.port) == ("0.0.0.0", container_port(replica))  # noqa: S104
    assert (said.max_seq_len, said.max_num_tokens, said.max_batch_size) == (16384, 8192, 64)
    # Qwen2.5 calls tools as Hermes does
    assert (said.tool_parser, said.reasoning_parser) == ("qwen3", None)
    # prompts are longer than a step
    assert file["enable_chunked_prefill"] is True
    assert file["cuda_graph_config"]["max_batch_size"] == 64
    assert not found.entrypoint
    assert f"http://127.0.0.1:{said.port}/health" in found.healthcheck.command


def test_its_cache_is_a_share_of_what_is_free(tmp_path: Path) -> None:
    artefacts = made(tmp_path, models=[{**CODER, "replicas": 1}])
    (replica,) = artefacts.plan.replicas
    cache, memory = file_of(artefacts)["kv_cache_config"], replica.memory
    # of what the catalogue says of an L40S
    usable = load_catalog().gpus["l40s"].usable_memory_gib
    assert memory is not None
    assert usable is not None
    free = usable - memory.weights_gib - memory.overhead_gib
    share = cache["free_gpu_memory_fraction"]
    assert share == parsed(container(artefacts)).free_gpu_memory_fraction
    # as much as was planned, and a tenth of the card stays
    assert share * free >= memory.kv_cache_gib
    assert share * free + memory.weights_gib + memory.overhead_gib <= 0.92 * usable
    # in whole blocks, one of which is not for requests
    assert cache["max_tokens"] % 32 == 0
    assert 32 <= cache["max_tokens"] - replica.kv_cache_tokens < 64


def test_what_is_declared_is_said(tmp_path: Path) -> None:
    engine = {
        "kind": "tensorrt_llm",
        "gpu_memory_utilization": 0.7,
        "max_num_batched_tokens": 2048,
        "kv_cache_dtype": "fp8",
        "enforce_eager": True,
        "extra_args": ["--trust_remote_code"],
    }
    models = [{**CODER, "weights": "lab/coder@v2"}]
    artefacts = made(tmp_path, engine=engine, models=models)
    said, file = parsed(container(artefacts)), file_of(artefacts)
    assert (said.model, said.max_num_tokens, said.trust_remote_code) == ("lab/coder", 2048, True)
    assert (file["revision"], file["cuda_graph_config"]) == ("v2", None)
    assert file["kv_cache_config"]["dtype"] == "fp8"
    more = file_of(made(tmp_path, engine={**engine, "gpu_memory_utilization": 0.9}, models=models))
    assert file["kv_cache_config"]["max_tokens"] < more["kv_cache_config"]["max_tokens"]


def test_weights_that_nvidia_quantised(tmp_path: Path) -> None:
    repository = "nvidia/Llama-3.1-8B-Instruct-FP8"
    declared = {"name": "llama-3.1-8b", "quantization": "fp8", "weights": repository}
    artefacts = made(tmp_path, models=[{**declared, "replicas": 1}])
    said, (replica,) = parsed(container(artefacts)), artefacts.plan.replicas
    # the checkpoint says itself how it is kept
    assert (said.model, "fp8" in container(artefacts).command) == (repository, False)
    assert replica.memory is not None
    assert replica.memory.weights_gib < 10


def test_weights_of_a_directory(tmp_path: Path) -> None:
    models = [{**CODER, "weights": "/srv/coder", "replicas": 1}]
    artefacts = made(tmp_path, models=models)
    said = parsed(container(artefacts))
    mounts = {str(place): mount for place, mount in container(artefacts).mounts.items()}
    assert mounts[said.model].source == "/srv/coder"
    # it calls its model after the directory
    seen = upstream(artefacts.context, artefacts.plan.replicas[0])
    assert seen.upstream_model == Path(said.model).name


def test_nobody_but_routers_reaches_it(tmp_path: Path) -> None:
    hosts = [{"name": "10.0.0.1"}, {"name": "gpu1", "address": "10.0.0.2", "gpus": "1x l40s"}]
    for artefacts in (made(tmp_path), made(tmp_path, hosts=hosts)):
        found, (replica, *_) = container(artefacts), artefacts.plan.replicas
        assert found.secret_env == {}
        assert not found.ports
        assert upstream(artefacts.context, replica).has_key is False
    # on another host by a link, and by nothing else
    assert upstream(artefacts.context, replica).address.startswith("lab-listener-client-0:")


def test_routers_ask_it_for_chats_and_completions(tmp_path: Path) -> None:
    artefacts = made(tmp_path, models=[{**CODER, "replicas": 1}])
    router = artefacts.stack.tier(Tier.ROUTER)[0]
    assert router.config is not None
    [row] = yaml.safe_load(str(router.config.files["config.yaml"].content))["model_list"]
    assert row["litellm_params"] == {
        "model": "openai/Qwen/Qwen2.5-Coder-7B-Instruct",
        "api_base": "http://lab-tensorrt-llm-qwen2.5-coder-7b-0:8000/v1",
        "api_key": "none",
        "use_chat_completions_api": True,
        "stream_timeout": 60,
    }


def test_it_keeps_nothing_and_tells_nobody(tmp_path: Path) -> None:
    env = container(made(tmp_path)).env
    assert env["TRTLLM_NO_USAGE_STATS"] == env["TRTLLM_RESPONSES_API_DISABLE_STORE"] == "1"
    assert env["HF_HUB_OFFLINE"] == "1"


def test_parsers_that_it_calls_otherwise_or_does_not_have(tmp_path: Path) -> None:
    hosts = [{"name": "gpu1", "gpus": "1x h100"}]
    thinking = parsed(container(made(tmp_path, hosts=hosts, models=[{"name": "qwen3-8b"}])))
    assert (thinking.tool_parser, thinking.reasoning_parser) == ("qwen3", "qwen3")
    llama = parsed(container(made(tmp_path, hosts=hosts, models=[{"name": "llama-3.1-8b"}])))
    assert llama.tool_parser is None


def test_every_deployment_is_told_of_the_terms(tmp_path: Path) -> None:
    [said] = [text for text in made(tmp_path).plan.warnings if "NGC" in text]
    assert "NVIDIA's own terms" in said


def test_each_request_has_room_for_all_that_it_may_become(tmp_path: Path) -> None:
    plan = made(tmp_path, models=[{**CODER, "max_model_len": 32768}]).plan
    [model], length = plan.models, plan.replicas[0].max_model_len
    assert length == 32768
    held = sum(replica.kv_cache_tokens // length for replica in plan.replicas)
    assert 0 < model.concurrent_users <= held
    assert f"each has room for {length} tokens" in model.at_the_limit


@pytest.mark.golden
def test_containers_are_as_written(tmp_path: Path) -> None:
    hosts = [
        {"name": "10.0.0.1"},
        {"name": "gpu1", "address": "10.0.0.2", "gpus": "2x h100"},
    ]
    engine = {"kind": "tensorrt_llm", "tensor_parallel_size": 2}
    models = [{"name": "llama-3.1-8b", "engine": engine}]
    found = rendered(made(tmp_path, hosts=hosts, models=models))
    engines = {name: each for name, each in found.items() if "-tensorrt-llm-" in name}
    assert len(engines) == 1
    assert_golden(GOLDEN / "tensorrt_llm.json", json.dumps(engines, indent=1) + "\n")


def test_it_is_not_built(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"images.tensorrt-llm: image_source is 'build'"):
        made(tmp_path, image_source="build")


def test_ngc_is_logged_in_to_where_that_is_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NGC_API_KEY", "made-up-key")
    password = {"env": "NGC_API_KEY"}
    ngc = {"address": "nvcr.io", "username": "$oauthtoken", "password": password}
    artefacts = made(tmp_path, registries=[ngc])
    address = container(artefacts).image.partition("/")[0]
    [login] = json.loads(artefacts.registries[address].login)["auths"].values()
    assert base64.b64decode(login["auth"]) == b"$oauthtoken:made-up-key"


@pytest.mark.parametrize(
    ("gpus", "model", "backend"),
    [
        ("1x h100", {"name": "gpt-oss-20b"}, None),
        ("1x b200", {"name": "gpt-oss-120b"}, None),
        ("8x b200", {"name": "deepseek-r1"}, "DEEPGEMM"),
        ("1x h100", {"name": "qwen3-coder-30b-a3b"}, None),
        ("1x h100", {"name": "qwen3-coder-30b-a3b", "quantization": "fp8"}, None),
    ],
)
def test_kernels_of_experts(
    tmp_path: Path, gpus: str, model: dict[str, Any], backend: str | None
) -> None:
    hosts = [{"name": "gpu1", "gpus": gpus}]
    engine = {"kind": "tensorrt_llm", "enable_expert_parallel": gpus == "8x b200"}
    artefacts = made(tmp_path, hosts=hosts, models=[model], engine=engine)
    assert file_of(artefacts).get("moe_config", {}).get("backend") == backend


def test_whole_experts(tmp_path: Path) -> None:
    hosts = [{"name": "gpu1", "gpus": "4x h100"}]
    models = [{"name": "glm-4.5-air", "replicas": 1}]
    found = {}
    for whole in (True, False):
        engine = {"kind": "tensorrt_llm", "enable_expert_parallel": whole}
        found[whole] = parsed(container(made(tmp_path, hosts=hosts, models=models, engine=engine)))
    said = found[True]
    assert said.moe_expert_parallel_size == said.tensor_parallel_size == 4
    assert found[False].moe_expert_parallel_size is None


def test_weights_of_a_models_makers_that_it_loads(tmp_path: Path) -> None:
    """FP8 in blocks and MXFP4, as they are published; where the catalogue's are meant."""
    hosts = [{"name": "gpu1", "gpus": "1x h100"}]
    fp8 = {"name": "qwen3-30b-a3b", "quantization": "fp8"}
    for more in ({}, {"weights": "Qwen/Qwen3-30B-A3B-FP8"}):
        said = parsed(container(made(tmp_path, hosts=hosts, models=[{**fp8, **more}])))
        assert said.model == "Qwen/Qwen3-30B-A3B-FP8"
    with pytest.raises(PlanError, match=r"compute capability 9.0 to 10.3, and l40s has 8.9"):
        made(tmp_path, models=[fp8])
    # ModelOpt's have a scale for each tensor, which that card computes with
    other = {**fp8, "weights": "nvidia/Qwen3-30B-A3B-FP8"}
    (replica,) = made(tmp_path, models=[other]).plan.replicas
    assert replica.weights.repository == "nvidia/Qwen3-30B-A3B-FP8"
    with pytest.raises(
        PlanError, match=r"zai-org/GLM-4.5-Air-FP8: TensorRT-LLM is not deployed with"
    ):
        made(tmp_path, hosts=hosts, models=[{"name": "glm-4.5-air", "quantization": "fp8"}])


def test_parsers_of_every_model_that_it_serves(tmp_path: Path) -> None:
    catalog, seen = load_catalog(), set()
    for name, model in catalog.models.items():
        kind = model.config.get("model_type")
        if kind not in SERVED or "chat" not in model.roles:
            continue
        known = {"tools": model.tool_call_parser, "thoughts": model.reasoning_parser}
        replica = (
            made(tmp_path)
            .plan.replicas[0]
            .model_copy(
                update={
                    "tool_call_parser": known["tools"],
                    "reasoning_parser": known["thoughts"],
                }
            )
        )
        recorded_parser().parse_args(arguments(replica)[2:])
        seen.add(name)
    assert {"gpt-oss-20b", "glm-4.7", "kimi-k2", "deepseek-v3.1", "qwen3-coder-30b-a3b"} <= seen
