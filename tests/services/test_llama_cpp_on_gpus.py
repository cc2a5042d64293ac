"""llama.cpp and Ollama on GPUs: images, devices, and what they are started with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy import Deployment
from deploy.artefacts import Artefacts, make_artefacts
from deploy.catalog import load_catalog
from deploy.catalog.entry import DIRECTORY
from deploy.errors import PlanError
from deploy.plan.to_json import plan_to_json
from deploy.services import ContainerSpec, Tier
from deploy.units import GIB
from tests.services.profiles import digest

EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside the container
TINY = DIRECTORY / "models" / "tiny-coder-q8_0.gguf"
QWEN_7B = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
}


def made(directory: Path, gpus: str = "2x l40s", **settings: Any) -> Artefacts:
    """A deployment with a file that the tiny model stands for, and the sizes of a larger one."""
    (directory / "config.json").write_text(json.dumps(QWEN_7B), encoding="utf-8")
    engine = {"kind": "llama_cpp", **settings.pop("engine", {})}
    model = {"name": "own", "path": str(TINY), "config": "config.json", "weights_gib": 4.4}
    whole = {
        "name": "lab",
        "hosts": [{"name": "gpu1", "gpus": gpus, "gpu_groups": [44, 992]}],
        "engine": engine,
        "models": [{**model, **settings.pop("model", {})}],
        **settings,
    }
    return make_artefacts(Deployment(**whole), directory)


def engine(artefacts: Artefacts) -> ContainerSpec:
    return artefacts.stack.tier(Tier.ENGINE)[0].container


def said(artefacts: Artefacts) -> dict[str, str]:
    """The flags with a value that differ from what every deployment has."""
    command = engine(artefacts).command
    pairs = zip(command, (*command[1:], ""), strict=True)
    return {flag: "" if value.startswith("--") else value for flag, value in pairs if "--" in flag}


def test_all_that_llama_server_is_started_with_on_a_gpu(tmp_path: Path) -> None:
    own = {"max_num_seqs": 4, "extra_args": ["--verbose-prompt"]}
    artefacts = made(tmp_path, engine=own, model={"max_model_len": 16384, "gpus": 1})
    container = engine(artefacts)
    assert container.image == "ghcr.io/ggml-org/llama.cpp:server-cuda-b11669"
    assert container.gpus == (0,)
    assert container.env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert container.command == (
        *("--model", f"/models/{TINY.name}", "--alias", "own"),
        *("--host", EVERYWHERE, "--port", "8080", "--ctx-size", "65536", "--parallel", "4"),
        *("--device", "CUDA0", "--n-gpu-layers", "all", "--fit", "off"),
        *("--split-mode", "none", "--main-gpu", "0", "--flash-attn", "on"),
        *("--no-kv-unified", "--jinja", "--metrics", "--no-webui"),
        "--verbose-prompt",
    )
    unit = artefacts.stack.tier(Tier.ENGINE)[0]
    assert unit.gpu_shares == {0: 0.9}
    assert unit.image_name == "llama-cpp-cuda"


def test_the_key_is_no_argument(tmp_path: Path) -> None:
    unit = made(tmp_path).stack.tier(Tier.ENGINE)[0]
    assert "--api-key" not in unit.container.command
    assert "LLAMA_API_KEY" in unit.container.env
    assert not any("LLAMA_API_KEY=" in each for each in unit.create_arguments("lab", digest))


def test_layers_are_shared_out_over_cards_that_hold_them_together(tmp_path: Path) -> None:
    artefacts = made(tmp_path, "3x rtx-3060", model={"weights_gib": 19.0})
    found = said(artefacts)
    assert found["--device"] == "CUDA0,CUDA1"
    assert (found["--split-mode"], found["--tensor-split"]) == ("layer", "1,1")
    assert "--main-gpu" not in found
    (model,) = artefacts.plan.models
    assert model.reasons[0] == "1 replica over 2 GPUs, layer by layer"
    assert model.quantization == "as its file"


def test_parts_say_how_many_cards_serve_a_replica(tmp_path: Path) -> None:
    artefacts = made(tmp_path, engine={"tensor_split": [3, 1]})
    assert said(artefacts)["--tensor-split"] == "3,1"
    assert artefacts.plan.replicas[0].gpus == (0, 1)
    assert len(artefacts.plan.replicas) == 1


def test_rows_have_a_main_card(tmp_path: Path) -> None:
    found = said(made(tmp_path, engine={"tensor_split": [1, 1], "split_mode": "row"}))
    assert (found["--split-mode"], found["--main-gpu"]) == ("row", "0")


@pytest.mark.parametrize(
    ("own", "flash", "cache"),
    [
        ({}, "on", None),
        ({"flash_attn": "off"}, "off", None),
        ({"kv_cache_dtype": "f16"}, "on", "f16"),
        ({"kv_cache_dtype": "q8_0"}, "on", "q8_0"),
        ({"kv_cache_dtype": "q4_0", "flash_attn": "on"}, "on", "q4_0"),
    ],
)
def test_attention_and_cache(
    tmp_path: Path, own: dict[str, str], flash: str, cache: str | None
) -> None:
    found = said(made(tmp_path, engine=own))
    assert found["--flash-attn"] == flash
    assert (found.get("--cache-type-k"), found.get("--cache-type-v")) == (cache, cache)


def test_a_smaller_cache_is_planned_smaller(tmp_path: Path) -> None:
    sizes = []
    for dtype in ("f16", "q8_0", "q4_0"):
        memory = made(tmp_path, engine={"kv_cache_dtype": dtype}).plan.replicas[0].memory
        assert memory is not None
        sizes.append(memory.kv_cache_gib)
    # blocks of 32 values: 64 bytes, 34 and 18
    assert [size / sizes[0] for size in sizes] == pytest.approx([1, 34 / 64, 18 / 64])


def test_a_small_model_drafts(tmp_path: Path) -> None:
    """It lies on the same GPU, all of it; its file is one more that must be on the host."""
    small = tmp_path / "small.gguf"
    small.write_bytes(TINY.read_bytes() + bytes(64))
    (tmp_path / "small.json").write_text(json.dumps(QWEN_7B), encoding="utf-8")
    drafts = {"method": "draft_model", "num_speculative_tokens": 6, "draft": "small.json"}
    artefacts = made(tmp_path, model={"speculative": {**drafts, "path": "small.gguf"}})
    found = said(artefacts)
    assert found["--spec-type"] == "draft-simple"
    assert found["--spec-draft-model"] == "/draft/small.gguf"
    assert (found["--spec-draft-n-max"], found["--spec-draft-ngl"]) == ("6", "all")
    unit = artefacts.stack.tier(Tier.ENGINE)[0]
    model, draft = unit.model_files
    assert (model.path.name, draft.path.name) == (TINY.name, "small.gguf")
    mounted = {str(path): mount.source for path, mount in unit.container.mounts.items()}
    assert mounted["/draft"] == str(draft.path.parent) != mounted["/models"]
    weights = plan_to_json(artefacts.plan)["replicas"][0]["weights"]
    assert weights == {"file": TINY.name, "draft_file": "small.gguf"}


def test_a_draft_on_a_cpu(tmp_path: Path) -> None:
    drafts = {"method": "draft_model", "num_speculative_tokens": 6, "draft": "config.json"}
    model = {"speculative": {**drafts, "path": str(TINY)}}
    found = said(made(tmp_path, engine={"n_gpu_layers": 0}, model=model))
    assert found["--spec-draft-model"] == f"/draft/{TINY.name}"
    assert "--spec-draft-ngl" not in found


def test_the_prompt_drafts(tmp_path: Path) -> None:
    drafts = {"method": "ngram", "num_speculative_tokens": 16}
    found = said(made(tmp_path, model={"speculative": drafts}))
    assert (found["--spec-type"], found["--spec-ngram-simple-size-m"]) == ("ngram-simple", "16")
    assert "--spec-draft-model" not in found


def test_latent_attention_is_told_what_it_was_sized_with(tmp_path: Path) -> None:
    entry = load_catalog().models["deepseek-coder-v2-lite"]
    latent = tmp_path / "latent.json"
    latent.write_text(json.dumps(entry.config), encoding="utf-8")
    artefacts = made(tmp_path, model={"config": "latent.json", "weights_gib": 9.0})
    assert said(artefacts)["--flash-attn"] == "off"
    assert plan_to_json(artefacts.plan)["replicas"][0]["llama_cpp"] == {"flash_attention": False}


def test_amds_cards(tmp_path: Path) -> None:
    container = engine(made(tmp_path, "2x mi300x", model={"replicas": 2}))
    assert container.image == "ghcr.io/ggml-org/llama.cpp:server-rocm-b11669"
    assert container.devices == ("/dev/kfd", "/dev/dri")
    assert container.group_add == (44, 992)
    assert container.env["HIP_VISIBLE_DEVICES"] == "0"
    assert container.command[container.command.index("--device") + 1] == "ROCm0"


def test_amds_cards_with_vulkan(tmp_path: Path) -> None:
    container = engine(made(tmp_path, "1x rx-7900-xtx", engine={"backend": "vulkan"}))
    assert container.image == "ghcr.io/ggml-org/llama.cpp:server-vulkan-b11669"
    assert container.devices == ("/dev/dri",)
    assert container.env["GGML_VK_VISIBLE_DEVICES"] == "0"
    assert "HIP_VISIBLE_DEVICES" not in container.env
    assert container.command[container.command.index("--device") + 1] == "Vulkan0"


@pytest.mark.parametrize("kind", ["llama_cpp", "ollama"])
def test_a_file_alone_is_planned_on_a_gpu(tmp_path: Path, kind: str) -> None:
    """Its head says what its cache takes: 4 layers of 2 heads of 32, keys and values in f16."""
    own = {"name": "own", "path": str(TINY), "max_model_len": 2048}
    artefacts = made(tmp_path, engine={"kind": kind}, models=[own])
    (replica, *_) = artefacts.plan.replicas
    assert replica.gpus
    assert replica.memory is not None
    assert replica.memory.kv_cache_gib * GIB == pytest.approx(2 * 2048 * 4 * 2 * 2 * 32 * 2)
    assert replica.memory.weights_gib * GIB == TINY.stat().st_size
    over = {**own, "max_model_len": 4096}
    with pytest.raises(PlanError, match="at most 2048, what own was trained for"):
        made(tmp_path, engine={"kind": kind}, models=[over])


def test_on_cpus_of_a_host_with_gpus(tmp_path: Path) -> None:
    """As it was on CPUs: llama.cpp decides what is not declared."""
    artefacts = made(tmp_path, engine={"n_gpu_layers": 0}, model={"config": None})
    container = engine(artefacts)
    assert container.image == "ghcr.io/ggml-org/llama.cpp:server-b11669"
    assert (container.gpus, container.devices) == ((), ())
    assert not {"--device", "--n-gpu-layers", "--flash-attn"} & {*container.command}
    assert "CUDA_DEVICE_ORDER" not in container.env
    quantised = said(made(tmp_path, engine={"n_gpu_layers": 0, "kv_cache_dtype": "q8_0"}))
    assert (quantised["--flash-attn"], quantised["--cache-type-v"]) == ("on", "q8_0")


def test_the_memory_limit_has_room_for_kept_prompts(tmp_path: Path) -> None:
    on_gpu = engine(made(tmp_path)).memory_bytes
    on_cpu = engine(made(tmp_path, engine={"n_gpu_layers": 0})).memory_bytes
    assert on_gpu - on_cpu == 2 * GIB


@pytest.mark.parametrize("kind", ["llama_cpp", "ollama"])
@pytest.mark.parametrize(
    ("gpus", "own", "expected"),
    [
        (True, {}, "2048"),
        # else what is declared as the limit is smaller than what prompts may take of it
        (True, {"memory_limit": "2GiB"}, "256"),
        (True, {"memory_limit": "2GiB", "env": {"LLAMA_ARG_CACHE_RAM": "64"}}, "64"),
        # the model's file is tiny: the limit is 2 GiB
        (False, {}, "256"),
        (False, {"memory_limit": "8GiB"}, "1024"),
    ],
)
def test_kept_prompts_take_a_part_of_the_memory_limit(
    tmp_path: Path, kind: str, *, gpus: bool, own: dict[str, Any], expected: str
) -> None:
    """Unless it is told, llama-server keeps up to 8 GiB of them."""
    cpus: dict[str, Any] = {} if gpus else {"hosts": [{"name": "cpu1"}]}
    container = engine(made(tmp_path, engine={"kind": kind, **own}, **cpus))
    assert container.env["LLAMA_ARG_CACHE_RAM"] == expected


@pytest.mark.parametrize(
    ("own", "expected"),
    [({}, "1"), ({"flash_attn": "off"}, "0"), ({"kv_cache_dtype": "q4_0"}, "1")],
)
def test_ollama_has_the_same_settings(tmp_path: Path, own: dict[str, str], expected: str) -> None:
    container = engine(made(tmp_path, engine={"kind": "ollama", **own}))
    assert container.env["OLLAMA_FLASH_ATTENTION"] == expected
    assert container.env["LLAMA_ARG_CACHE_RAM"] == "2048"
    assert container.env["OLLAMA_KV_CACHE_TYPE"] == own.get("kv_cache_dtype", "f16")


def test_without_flash_attention_more_is_planned_for_buffers(tmp_path: Path) -> None:
    planned = []
    for flash in ("on", "off"):
        own = {"kind": "ollama", "flash_attn": flash}
        memory = made(tmp_path, engine=own, model={"max_model_len": 32768}).plan.replicas[0].memory
        assert memory is not None
        planned.append(memory.overhead_gib)
    # 512 rows of 28 heads over 65536 cells in 32 bits, less a mask in 16
    assert planned[1] - planned[0] > 3
