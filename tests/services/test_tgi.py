"""TGI's containers on GPUs: what it is told, checked against a record of its launcher's options."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import Deployment
from deploy.artefacts import Artefacts, make_artefacts
from deploy.catalog import load_catalog
from deploy.errors import PlanError
from deploy.services import ContainerSpec, Tier
from deploy.services.engines import container_port, upstream
from deploy.sizing.tgi import VERSION
from tests.golden import assert_golden
from tests.services.profiles import GOLDEN, rendered
from tests.services.tgi_options import recorded_parser, recorded_version

CODER = {"name": "qwen2.5-coder-7b"}


def made(directory: Path, **settings: Any) -> Artefacts:
    defaults = {
        "name": "lab",
        "hosts": [{"name": "gpu1", "gpus": "2x l40s"}],
        "engine": {"kind": "tgi"},
        "models": [CODER],
    }
    return make_artefacts(Deployment(**{**defaults, **settings}), directory)


def container(artefacts: Artefacts) -> ContainerSpec:
    return artefacts.stack.tier(Tier.ENGINE)[0].container


def parsed(found: ContainerSpec) -> argparse.Namespace:
    """The arguments, as the launcher takes them: it refuses what it does not know."""
    # the entry point of the image gives them on without quotes
    return recorded_parser().parse_args(" ".join(found.command).split())


def test_the_image_is_of_the_release_whose_options_are_recorded() -> None:
    image = load_catalog().images["tgi"]
    assert image.reference.rpartition(":")[2] == VERSION == recorded_version()
    assert image.licence == "Apache-2.0"


def test_the_record_refuses_what_the_launcher_does_not_know() -> None:
    for wrong in (["--dtype", "float32"], ["--served-model-name", "a"], ["--num-shard", "two"]):
        with pytest.raises((argparse.ArgumentError, SystemExit)):
            recorded_parser().parse_args(wrong)


def test_what_was_planned_is_said(tmp_path: Path) -> None:
    engine = {"kind": "tgi", "tensor_parallel_size": 2, "max_num_seqs": 200}
    artefacts = made(tmp_path, engine=engine, models=[{**CODER, "max_model_len": 16384}])
    found, (replica,) = container(artefacts), artefacts.plan.replicas
    said = parsed(found)
    assert (said.model_id, said.num_shard) == ("Qwen/Qwen2.5-Coder-7B-Instruct", 2)
    assert (said.hostname, said.port) == ("0.0.0.0", container_port(replica))  # noqa: S104
    assert (said.max_input_tokens, said.max_total_tokens) == (16383, 16384)
    assert (said.max_batch_prefill_tokens, said.max_batch_size) == (4096, 200)
    # requests wait for their turn at the engine, as with others
    assert said.max_concurrent_requests >= 2 * 200
    # nine tenths of a whole card
    assert said.cuda_memory_fraction == 1
    assert (said.dtype, said.quantize, said.kv_cache_dtype) == ("bfloat16", None, None)
    assert said.usage_stats == "off"
    assert said.graceful_termination_timeout < found.stop_timeout_seconds
    assert not found.entrypoint
    assert f"http://127.0.0.1:{said.port}/health" in found.healthcheck.command


def test_what_is_declared_is_said(tmp_path: Path) -> None:
    engine = {
        "kind": "tgi",
        "gpu_memory_utilization": 0.8,
        "max_num_batched_tokens": 2048,
        "kv_cache_dtype": "fp8",
        "enforce_eager": True,
        "extra_args": ["--trust-remote-code"],
    }
    models = [{**CODER, "quantization": "fp8", "weights": "lab/coder@v2"}]
    said = parsed(container(made(tmp_path, engine=engine, models=models)))
    assert said.cuda_memory_fraction == pytest.approx(0.8 / 0.9, abs=0.001)
    assert (said.max_batch_prefill_tokens, said.cuda_graphs) == (2048, "0")
    # the launcher refuses both together
    assert (said.quantize, said.dtype) == ("fp8", None)
    assert (said.kv_cache_dtype, said.revision) == ("fp8_e4m3fn", "v2")
    assert said.trust_remote_code


def test_quantised_weights_are_not_said_again(tmp_path: Path) -> None:
    said = parsed(container(made(tmp_path, models=[{**CODER, "quantization": "awq"}])))
    assert (said.model_id[-4:], said.quantize, said.dtype) == ("-AWQ", None, None)


def test_it_has_no_key_to_show(tmp_path: Path) -> None:
    artefacts = made(tmp_path)
    assert container(artefacts).secret_env == {}
    (replica, *_) = artefacts.plan.replicas
    seen = upstream(artefacts.context, replica)
    assert (seen.has_key, seen.upstream_model, seen.completes) == (False, "tgi", True)


def test_routers_ask_it_for_chats_and_completions_alone(tmp_path: Path) -> None:
    artefacts = made(tmp_path, models=[{**CODER, "replicas": 1}])
    router = artefacts.stack.tier(Tier.ROUTER)[0]
    assert router.config is not None
    [row] = yaml.safe_load(str(router.config.files["config.yaml"].content))["model_list"]
    assert row["model_name"] == "qwen2.5-coder-7b"
    assert row["litellm_params"] == {
        "model": "openai/tgi",
        "api_base": "http://lab-tgi-qwen2.5-coder-7b-0:3000/v1",
        "api_key": "none",
        "use_chat_completions_api": True,
        "stream_timeout": 60,
    }


def test_weights_of_the_shared_cache(tmp_path: Path) -> None:
    unit = made(tmp_path).stack.tier(Tier.ENGINE)[0]
    [weights] = unit.weights
    env = unit.container.env
    assert (weights.name, weights.image) == (
        "Qwen/Qwen2.5-Coder-7B-Instruct@main",
        unit.container.image,
    )
    assert env["HF_HUB_OFFLINE"] == "1"
    mounts = {str(path): mount for path, mount in unit.container.mounts.items()}
    mount = mounts[str(env["HUGGINGFACE_HUB_CACHE"])]
    assert (mount.source, mount.read_only) == (f"{weights.cache}/hub", True)


def test_every_deployment_is_told_that_it_is_archived(tmp_path: Path) -> None:
    [said] = [text for text in made(tmp_path).plan.warnings if "archived" in text]
    assert said.startswith("TGI is archived upstream")
    other = made(tmp_path, engine={"kind": "vllm"}).plan
    assert not any("archived" in text for text in other.warnings)


def test_each_request_has_room_for_all_that_it_may_become(tmp_path: Path) -> None:
    short = made(tmp_path).plan
    assert short.replicas[0].max_model_len == 8192
    long = made(tmp_path, models=[{**CODER, "max_model_len": 32768}]).plan
    for plan in (short, long):
        [model], length = plan.models, plan.replicas[0].max_model_len
        held = sum(replica.kv_cache_tokens // length for replica in plan.replicas)
        assert 0 < model.concurrent_users <= held
        assert f"each has room for {length} tokens" in model.at_the_limit


def test_each_has_its_cards_for_itself(tmp_path: Path) -> None:
    first = {**CODER, "engine": {"kind": "tgi"}, "replicas": 1}
    models = [first, {"name": "qwen2.5-coder-1.5b-base"}]
    plan = made(tmp_path, engine={"kind": "vllm"}, models=models).plan
    own = {gpu for r in plan.replicas if r.engine.kind == "tgi" for gpu in r.gpus}
    others = {gpu for r in plan.replicas if r.engine.kind != "tgi" for gpu in r.gpus}
    assert own
    assert others
    assert not own & others


@pytest.mark.golden
def test_containers_are_as_written(tmp_path: Path) -> None:
    hosts = [
        {"name": "10.0.0.1"},
        {"name": "gpu1", "address": "10.0.0.2", "gpus": "2x h100"},
    ]
    models = [{"name": "llama-3.1-8b", "engine": {"kind": "tgi", "tensor_parallel_size": 2}}]
    found = rendered(made(tmp_path, hosts=hosts, models=models))
    engines = {name: each for name, each in found.items() if "-tgi-" in name}
    assert len(engines) == 1
    assert_golden(GOLDEN / "tgi.json", json.dumps(engines, indent=1) + "\n")


def test_it_is_not_built(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"images.tgi: image_source is 'build'"):
        made(tmp_path, image_source="build")
