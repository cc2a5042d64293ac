"""vLLM's containers on CPUs, and what it does beside answering."""

import json
from pathlib import PurePosixPath
from typing import Any

import yaml

from deploy.artefacts import Artefacts
from deploy.catalog import load_catalog
from deploy.services import ContainerSpec, Tier
from deploy.services.vllm import CACHE, CACHES
from tests.conftest import MakeArtefacts
from tests.templates.vllm_programs import load_program

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


def hook_settings(artefacts: Artefacts) -> dict[str, Any]:
    router = artefacts.stack.tier(Tier.ROUTER)[0]
    assert router.config is not None
    settings: dict[str, Any] = json.loads(str(router.config.files["atelier.json"].content))
    return settings


def served(found: ContainerSpec) -> tuple[str, ...]:
    """The arguments of ``vllm serve``."""
    at = found.command.index("vllm")
    assert found.command[at : at + 2] == ("vllm", "serve")
    return found.command[at + 2 :]


def test_on_cpus(make: MakeArtefacts) -> None:
    found = container(made(make, CODER))
    assert served(found) == (
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
    assert (found.cap_add, found.gpus, found.ulimits) == (("SYS_NICE",), (), {"core": 0})
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


def test_priorities_are_told_to_engine_and_router(make: MakeArtefacts) -> None:
    router = {"aliases": {"quick": "coder"}, "priorities": {"quick": -7}}
    model = CODER | {"served_model_name": "coder", "lora_adapters": {"sql": "/srv/sql"}}
    plain = made(make, model, router={"aliases": {"quick": "coder"}})
    assert "--scheduling-policy" not in container(plain).command
    assert hook_settings(plain)["priorities"] == {"completions": {}, "others": {}}
    artefacts = made(
        make, model, engine={"kind": "vllm", "scheduling_policy": "priority"}, router=router
    )
    assert "--scheduling-policy priority" in " ".join(container(artefacts).command)
    assert hook_settings(artefacts)["priorities"] == {
        "completions": {"coder": -1, "sql": -1, "quick": -7},
        "others": {"coder": 0, "sql": 0, "quick": -7},
    }


def test_each_router_has_its_share_of_the_room(make: MakeArtefacts) -> None:
    for routers, room in ((1, 5), (2, 3)):
        artefacts = made(
            make,
            CODER | {"max_num_seqs": 5},
            router={"replicas": routers},
            valkey={},
            postgres={},
            entry={},
        )
        assert told_router(artefacts)[0]["model_info"]["room"] == room


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
    [row] = told_router(made(make, {"name": "qwen3-embedding-0.6b"}))
    assert row["model_info"]["mode"] == "embedding"


def test_what_ranks_documents(make: MakeArtefacts) -> None:
    artefacts = made(make, {"name": "bge-reranker-v2-m3"})
    command = container(artefacts).command
    assert command[command.index("--runner") + 1] == "pooling"
    # 8194 positions, of which RoBERTa leaves out two
    assert command[command.index("--max-model-len") + 1] == "8192"
    [row] = told_router(artefacts)
    assert row["model_info"]["mode"] == "rerank"
    # LiteLLM asks at .../v1/rerank then
    assert row["litellm_params"]["model"] == "hosted_vllm/bge-reranker-v2-m3"
    assert row["litellm_params"]["api_base"].endswith(":8000/v1")


def test_what_writes_has_no_mode(make: MakeArtefacts) -> None:
    [row] = told_router(made(make, CODER))
    assert "mode" not in row["model_info"]


def web_ui_env(make: MakeArtefacts, *names: str, **more: Any) -> tuple[dict[str, str], set[str]]:
    """Its variables, and the names of those that hold the router's key."""
    models = [CODER, *({"name": name} for name in names)]
    whole = {"open-webui": {"reference": "ghcr.io/open-webui/open-webui:v0.12.4"}}
    artefacts = made(make, CODER, **{"models": models, "web_ui": {}, "images": whole} | more)
    [web_ui] = artefacts.stack.tier(Tier.WEB_UI)
    secret = web_ui.container.secret_env
    key = secret["OPENAI_API_KEYS"]
    return web_ui.container.plain_env, {name for name, text in secret.items() if text == key}


def test_the_web_ui_searches_documents_with_the_models_that_there_are(make: MakeArtefacts) -> None:
    env, keys = web_ui_env(make)
    assert env["BYPASS_EMBEDDING_AND_RETRIEVAL"] == "true"
    assert keys == {"OPENAI_API_KEYS"}

    env, keys = web_ui_env(make, "bge-m3")
    assert "BYPASS_EMBEDDING_AND_RETRIEVAL" not in env
    assert (env["RAG_EMBEDDING_ENGINE"], env["RAG_EMBEDDING_MODEL"]) == ("openai", "bge-m3")
    assert env["RAG_OPENAI_API_BASE_URL"] == env["OPENAI_API_BASE_URLS"]
    assert "RAG_RERANKING_ENGINE" not in env
    assert keys == {"OPENAI_API_KEYS", "RAG_OPENAI_API_KEY"}

    elsewhere = {"env": {"RAG_OPENAI_API_BASE_URL": "https://vectors.example/v1"}}
    env, keys = web_ui_env(make, "bge-m3", web_ui=elsewhere)
    assert env["RAG_OPENAI_API_BASE_URL"] == "https://vectors.example/v1"
    assert keys == {"OPENAI_API_KEYS"}

    env, keys = web_ui_env(make, "bge-m3", "bge-reranker-v2-m3")
    assert env["ENABLE_RAG_HYBRID_SEARCH"] == "true"
    assert env["RAG_RERANKING_MODEL"] == "bge-reranker-v2-m3"
    assert env["RAG_EXTERNAL_RERANKER_URL"] == f"{env['OPENAI_API_BASE_URLS']}/rerank"
    assert "RAG_EXTERNAL_RERANKER_API_KEY" in keys

    env, _ = web_ui_env(make, "bge-reranker-v2-m3")
    assert env["BYPASS_EMBEDDING_AND_RETRIEVAL"] == "true"
    assert env["USE_SLIM_DOCKER"] == "true"


def test_the_slim_web_ui_searches_nothing(make: MakeArtefacts) -> None:
    env, keys = web_ui_env(make, "bge-m3", images={})
    assert env["BYPASS_EMBEDDING_AND_RETRIEVAL"] == env["USE_SLIM_DOCKER"] == "true"
    assert keys == {"OPENAI_API_KEYS"}
    env, _ = web_ui_env(make, "bge-m3", images={}, image_source="build")
    assert env["USE_SLIM_DOCKER"] == "false"


def watch(found: ContainerSpec) -> dict[str, Any]:
    """What the program is told that watches over the engine; nothing where there is none."""
    if not found.command[0].endswith("hang_watch.py"):
        return {}
    settings: dict[str, Any] = json.loads(found.command[1])
    return settings


def test_it_is_watched_over(make: MakeArtefacts) -> None:
    found = container(made(make, CODER))
    assert (found.entrypoint, found.command[2:4]) == ("python3", ("vllm", "serve"))
    told = watch(found)
    assert (told["seconds"], told["address"], told["port"]) == (300, "127.0.0.1", 8000)
    assert told["path"] == "/v1/completions"
    assert told["body"] == {"model": "qwen2.5-coder-7b", "prompt": "a", "max_tokens": 1}
    config = made(make, CODER).stack.tier(Tier.ENGINE)[0].config
    assert config is not None
    program = PurePosixPath(found.command[0])
    assert found.mounts[program.parent].source == str(config.directory)
    assert set(config.files) == {"hang_watch.py", "progress.py", "last_state.py"}
    # the program takes these settings, and no others
    assert load_program("hang_watch").Settings(**told).interval == 5


def test_models_that_write_nothing_are_asked_for_what_they_make(make: MakeArtefacts) -> None:
    asked = {"qwen3-embedding-0.6b": "/v1/embeddings", "bge-reranker-v2-m3": "/v1/rerank"}
    for model, path in asked.items():
        told = watch(container(made(make, {"name": model})))
        assert (told["path"], told["body"]["model"]) == (path, model)


def test_how_long_it_may_stand_still_is_declared(make: MakeArtefacts) -> None:
    def declared(**own: Any) -> ContainerSpec:
        return container(made(make, CODER, engine={"kind": "vllm", **own}))

    assert watch(declared(hang_seconds=20))["seconds"] == 20
    alone = declared(hang_seconds=0)
    assert (alone.entrypoint, alone.command[0]) == ("", "Qwen/Qwen2.5-Coder-7B-Instruct")
    assert not any(str(path) == "/etc/atelier" for path in alone.mounts)
    # a step that is as long as the prompt: 16384 tokens are read in less than 300 s
    whole = declared(extra_args=["--no-enable-chunked-prefill"])
    assert watch(whole)["seconds"] == 300
