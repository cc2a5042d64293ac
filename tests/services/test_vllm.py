"""vLLM's containers on CPUs, and what it does beside answering."""

from pathlib import PurePosixPath
from typing import Any

import yaml

from deploy.artefacts import Artefacts
from deploy.catalog import load_catalog
from deploy.services import ContainerSpec, Tier
from deploy.services.vllm import CACHE, CACHES
from tests.conftest import MakeArtefacts

CODER = {"name": "qwen2.5-coder-7b", "max_model_len": 16384}
ANYWHERE = "0.0.0.0"  # noqa: S104 - inside the container


def made(make: MakeArtefacts, model: dict[str, Any], **more: Any) -> Artefacts:
    engine = {"kind": "vllm", "tensor_parallel_size": 2, "cpu_kvcache_space": 4}
    settings = {"profile": "20-users", "models": [model], "engine": engine, "web_ui": None}
    return make(**settings | more)


def container(artefacts: Artefacts) -> ContainerSpec:
    return artefacts.stack.tier(Tier.ENGINE)[0].container


def told_router(artefacts: Artefacts) -> list[dict[str, Any]]:
    router = artefacts.stack.tier(Tier.ROUTER)[0]
    assert router.config is not None
    config = yaml.safe_load(str(router.config.files["config.yaml"].content))
    rows: list[dict[str, Any]] = config["model_list"]
    return rows


def test_on_cpus(make: MakeArtefacts) -> None:
    found = container(made(make, CODER))
    assert found.command == (
        "Qwen/Qwen2.5-Coder-7B-Instruct",
        *("--served-model-name", "qwen2.5-coder-7b", "--host", ANYWHERE, "--port", "8000"),
        *("--tensor-parallel-size", "2", "--pipeline-parallel-size", "1"),
        *("--max-model-len", "16384", "--max-num-seqs", "8"),
        *("--kv-cache-dtype", "auto", "--dtype", "auto", "--block-size", "128"),
        *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
    )
    assert found.env["VLLM_CPU_KVCACHE_SPACE"] == "4"
    assert found.env["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert "CUDA_DEVICE_ORDER" not in found.env
    assert (found.cap_add, found.gpus, found.ulimits) == (("SYS_NICE",), (), {})
    assert found.image == load_catalog().images["vllm-cpu"].reference


def test_built_where_images_are_built(make: MakeArtefacts) -> None:
    found = container(made(make, CODER, image_source="build"))
    assert found.image.startswith("atelier/vllm-cpu:0.32.0-")


def test_what_is_declared_is_said(make: MakeArtefacts) -> None:
    engine = {
        "kind": "vllm",
        "enforce_eager": True,
        "block_size": 64,
        "cpu_omp_threads_bind": "0-7",
        "kv_cache_dtype": "fp8",
    }
    found = container(made(make, CODER, engine=engine))
    said = " ".join(found.command)
    assert "--kv-cache-dtype fp8" in said
    assert "--block-size 64 --enforce-eager" in said
    assert found.env["VLLM_CPU_OMP_THREADS_BIND"] == "0-7"


def test_everything_that_is_compiled_is_kept(make: MakeArtefacts) -> None:
    for hosts in ([{"name": "@local"}], [{"name": "@local", "gpus": "2x l40s"}]):
        found = container(made(make, CODER, hosts=hosts, engine={"kind": "vllm"}))
        assert found.mounts[CACHE].kind == "volume"
        for name in CACHES:
            path = PurePosixPath(str(found.env[name]))
            assert path == CACHE or CACHE in path.parents, name


def test_reasoning(make: MakeArtefacts) -> None:
    model = CODER | {"reasoning_parser": "qwen3", "tool_call_parser": "none"}
    said = " ".join(container(made(make, model)).command)
    assert said.endswith("--reasoning-parser qwen3")
    assert "tool" not in said


def test_adapters_are_models_of_the_router(make: MakeArtefacts) -> None:
    adapters = {"sql": "/srv/adapters/sql", "docs": "lab/docs-lora"}
    artefacts = made(make, CODER | {"lora_adapters": adapters, "max_lora_rank": 32})
    found = container(artefacts)
    assert " ".join(found.command).endswith(
        "--enable-lora --max-loras 2 --max-lora-rank 32"
        " --lora-modules sql=/adapters/sql docs=lab/docs-lora"
    )
    mount = found.mounts[PurePosixPath("/adapters/sql")]
    assert (mount.kind, mount.source, mount.read_only) == ("bind", "/srv/adapters/sql", True)
    assert PurePosixPath("/adapters/docs") not in found.mounts
    rows = told_router(artefacts)
    assert [row["model_name"] for row in rows] == ["qwen2.5-coder-7b", "sql", "docs"]
    assert [row["litellm_params"]["model"] for row in rows] == [
        "hosted_vllm/qwen2.5-coder-7b",
        "hosted_vllm/sql",
        "hosted_vllm/docs",
    ]
    ids = [row["model_info"]["id"] for row in rows]
    assert len(set(ids)) == 3
    assert len({row["litellm_params"]["api_base"] for row in rows}) == 1
    assert {row["litellm_params"]["stream_timeout"] for row in rows} == {300}
    assert any("adapters" in text for text in artefacts.plan.warnings)


def test_embeddings(make: MakeArtefacts) -> None:
    found = container(made(make, {"name": "qwen3-embedding-0.6b"}))
    said = " ".join(found.command)
    assert said.endswith("--runner pooling")
