"""What holds for every model of the catalogue."""

import hashlib
import re
from typing import Any

import pytest

from deploy.catalog import Model, Variant, load_catalog
from tests.catalog.parameters import count_parameters

MODELS = load_catalog().models
# fmt: off
REQUIRED = [
    "tiny-coder", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "qwen2.5-coder-3b",
    "qwen2.5-coder-7b", "qwen2.5-coder-14b", "qwen2.5-coder-32b", "starcoder2-3b",
    "starcoder2-7b", "starcoder2-15b", "deepseek-coder-v2-lite", "deepseek-coder-v2",
    "codellama-7b", "codellama-13b", "codellama-34b", "codellama-70b",
    "opencodeinterpreter-ds-6.7b", "opencodeinterpreter-ds-33b", "qwen3-coder-30b-a3b",
    "gpt-oss-20b", "devstral-small", "qwen3.6-27b", "qwen3.6-35b-a3b", "qwen3.8-27b",
    "devstral-small-2", "glm-4.6", "glm-5.2", "minimax-m2.5", "kimi-k2.6", "deepseek-v3.2",
    "gemma-4-31b", "nemotron-3-nano-30b", "llama-3.1-8b", "llama-4-scout", "seed-oss-36b",
    "granite-4.0-h-small",
]
# fmt: on
# bits of a weight, with its scales; embeddings often stay in 16 bits, hence the upper bounds
BITS = {
    "none": (15.9, 32.1),
    "awq": (4.1, 7),
    "gptq": (4.1, 7),
    "fp8": (7.9, 9.1),
    "mxfp4": (4.2, 6),
    "nvfp4": (4.4, 8),
    "q4_0": (4.4, 5.1),
    "q4_k_m": (4.6, 6.5),
    "q5_k_m": (5.4, 6.5),
    "q8_0": (8.4, 9.2),
    "f16": (15.9, 17),
}

each_model = pytest.mark.parametrize(("name", "model"), MODELS.items(), ids=list(MODELS))


def text_config(model: Model) -> dict[str, Any]:
    return model.config.get("text_config") or model.config


def test_every_required_model_is_there() -> None:
    assert [name for name in REQUIRED if name not in MODELS] == []


@each_model
def test_ids_are_plain(name: str, model: Model) -> None:
    assert re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", name)


@each_model
def test_it_has_a_source_and_a_known_licence(name: str, model: Model) -> None:
    assert model.source
    assert model.licence in load_catalog().licences


@each_model
def test_completion_goes_with_fill_in_the_middle(name: str, model: Model) -> None:
    assert len(set(model.roles)) == len(model.roles) > 0
    assert ("completion" in model.roles) == (model.fill_in_the_middle is not None)


@each_model
def test_its_configuration_has_the_parameters_that_its_card_states(name: str, model: Model) -> None:
    counted = count_parameters(model.config) / 1e9
    assert counted == pytest.approx(model.parameters_billion, rel=0.02)


@each_model
def test_active_parameters_are_those_of_a_mixture_of_experts(name: str, model: Model) -> None:
    config = text_config(model)
    experts = {"n_routed_experts", "num_experts", "num_local_experts"} & set(config)
    assert bool(experts) == (model.active_parameters_billion is not None)
    assert (model.active_parameters_billion or 0) < model.parameters_billion


@each_model
def test_heads_divide(name: str, model: Model) -> None:
    config = text_config(model)
    heads = config.get("num_attention_heads") or config["n_head"]
    assert heads % config.get("num_key_value_heads", heads) == 0
    if "head_dim" not in config and "kv_lora_rank" not in config:
        assert (config.get("hidden_size") or config["n_embd"]) % heads == 0


@each_model
def test_layer_types_cover_every_layer(name: str, model: Model) -> None:
    config = text_config(model)
    types = config.get("layer_types")
    assert types is None or len(types) == config["num_hidden_layers"]


@each_model
def test_its_context_is_what_its_configuration_allows(name: str, model: Model) -> None:
    config = text_config(model)
    allowed: int = config.get("max_position_embeddings") or config["n_positions"]
    assert 0 < model.max_model_len <= allowed


@each_model
def test_its_variants_can_be_fetched(name: str, model: Model) -> None:
    for variant in model.variants:
        assert variant.huggingface or variant.ollama or model.file
        assert variant.ollama is None or variant.format == "gguf"
        assert (variant.group_size is not None) == (variant.quantization in ("awq", "gptq"))
        if variant.huggingface:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", variant.huggingface)


def sized_variants() -> list[Any]:
    return [
        pytest.param(model, variant, id=f"{name}-{variant.quantization}-{variant.format}")
        for name, model in MODELS.items()
        for variant in model.variants
        if variant.size_bytes
    ]


@pytest.mark.parametrize(("model", "variant"), sized_variants())
def test_sizes_are_plausible(model: Model, variant: Variant) -> None:
    least, most = BITS[variant.quantization]
    assert variant.size_bytes is not None
    assert least <= variant.size_bytes * 8 / (model.parameters_billion * 1e9) <= most


def test_the_shipped_model_is_the_one_described() -> None:
    tiny = MODELS["tiny-coder"]
    assert tiny.path is not None
    content = tiny.path.read_bytes()
    assert hashlib.sha256(content).hexdigest() == tiny.sha256
    assert [variant.size_bytes for variant in tiny.variants] == [len(content)]


def test_only_shipped_models_have_a_path() -> None:
    assert [name for name, model in MODELS.items() if model.path] == ["tiny-coder"]


def test_a_variant_is_found_by_quantisation_and_format() -> None:
    model = MODELS["gpt-oss-20b"]
    safetensors, gguf = model.variant("mxfp4", "safetensors"), model.variant("mxfp4", "gguf")
    assert safetensors is not None
    assert safetensors.huggingface == model.huggingface == "openai/gpt-oss-20b"
    assert gguf is not None
    assert gguf.ollama == model.ollama == "gpt-oss:20b"
    assert model.variant("awq", "safetensors") is None


def test_the_licences_of_the_slides() -> None:
    licences = {name: MODELS[name].licence for name in REQUIRED}
    assert licences["qwen2.5-coder-3b"] == "qwen-research"
    assert licences["qwen2.5-coder-7b"] == "apache-2.0"
    assert licences["starcoder2-15b"] == "bigcode-openrail-m-1"
    assert (
        licences["deepseek-coder-v2"] == licences["opencodeinterpreter-ds-33b"] == "deepseek-model"
    )
    assert licences["codellama-70b"] == "llama-2-community"


@each_model
def test_scores_are_published_ones(name: str, model: Model) -> None:
    for score in model.scores.values():
        assert score.date >= "2024"
        assert "http" in score.source or "github.com" in score.source


def test_what_agents_are_served_with_has_a_score_and_a_tool_parser() -> None:
    # fmt: off
    used = [
        "qwen3.6-27b", "qwen3.6-35b-a3b", "qwen3-coder-next", "devstral-small-2", "glm-4.5-air",
        "gpt-oss-20b", "gpt-oss-120b", "minimax-m2.5", "kimi-k2.6", "deepseek-v3.2",
    ]
    # fmt: on
    for name in used:
        assert "swe_bench_verified" in MODELS[name].scores, name
        assert MODELS[name].tool_call_parser, name
