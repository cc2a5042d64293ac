"""Architectures read from config.json: published totals, kinds of attention, refusals."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.catalog import load_catalog
from deploy.catalog.architecture import read_architecture
from deploy.catalog.weight_tensors import count_active_parameters, count_parameters
from deploy.errors import AtelierError, ModelConfigError, UnsupportedModelError
from tests.sizing import configs as c

TOTALS = [
    # published totals, in 10^9: model cards and the size of the safetensors files
    (c.QWEN2_7B, 7.616),
    (c.QWEN2_32B, 32.764),
    (c.QWEN2_72B, 72.706),
    (c.QWEN3_30B_A3B, 30.532),
    (c.DEEPSEEK_V2_LITE, 15.706),
    (c.DEEPSEEK_V3, 671.026),
    (c.GPT_OSS_20B, 20.915),
    (c.GPT_OSS_120B, 116.829),
    (c.LLAMA_8B, 8.030),
    (c.LLAMA_70B, 70.554),
    (c.MIXTRAL, 46.703),
    (c.STARCODER2_15B, 15.958),
    (c.GEMMA2_27B, 27.227),
    (c.GEMMA3_27B, 27.009),
    (c.PHI4, 14.660),
]


@pytest.mark.parametrize(("config", "billions"), TOTALS)
def test_parameters_are_counted_exactly(config: c.Config, billions: float) -> None:
    assert count_parameters(read_architecture(config)) / 1e9 == pytest.approx(billions, abs=0.001)


@pytest.mark.parametrize(
    ("config", "billions"), [(c.QWEN3_30B_A3B, 3.35), (c.MIXTRAL, 12.88), (c.DEEPSEEK_V3, 37.5)]
)
def test_active_parameters_are_those_a_token_meets(config: c.Config, billions: float) -> None:
    active = count_active_parameters(read_architecture(config)) / 1e9
    assert active == pytest.approx(billions, rel=0.01)


@pytest.mark.parametrize("name", sorted(load_catalog().models))
def test_every_model_of_the_catalogue_is_counted_or_declined(name: str) -> None:
    model = load_catalog().models[name]
    try:
        counted = count_parameters(read_architecture(model.config)) / 1e9
    except UnsupportedModelError as error:
        assert "would have to be guessed" in str(error)  # noqa: PT017
    else:
        assert counted == pytest.approx(model.parameters_billion, rel=0.01, abs=0.001)


def test_layers_of_gemma_3_slide_but_every_sixth() -> None:
    kinds = [layer.kind for layer in read_architecture(c.GEMMA3_27B).layers]
    assert kinds[:6] == ["sliding"] * 5 + ["full"]
    assert kinds.count("full") == 10


def test_listed_layer_types_count() -> None:
    types = ["sliding_attention", "full_attention"] * 12
    model = read_architecture({**c.GPT_OSS_20B, "layer_types": types})
    assert [layer.window for layer in model.layers[:2]] == [128, 0]


def test_a_window_as_long_as_the_context_is_none() -> None:
    model = read_architecture({**c.LLAMA_8B, "sliding_window": 131072})
    assert model.layers[0].kind == "full"


def test_yarn_stretches_the_context() -> None:
    yarn = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    model = read_architecture({**c.QWEN2_7B, "rope_scaling": yarn})
    assert model.max_position_embeddings == 131072


def test_the_text_model_of_a_multimodal_one_is_read() -> None:
    vision = {"hidden_size": 1152, "num_hidden_layers": 27, "intermediate_size": 4304}
    config = {
        "model_type": "gemma3",
        "text_config": c.GEMMA3_27B,
        "vision_config": {**vision, "patch_size": 14},
    }
    model = read_architecture(config)
    assert model.vision_parameters > 0
    assert count_parameters(model) / 1e9 == pytest.approx(27.42, abs=0.02)


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, ("awq", 4, 64)),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, ("gptq", 8, 0)),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, ("fp8", 8, 128)),
        ({"quant_method": "mxfp4"}, ("mxfp4", 4, 32)),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, ("bitsandbytes", 4, 64)),
        (c.W4A16["quantization_config"], ("gptq", 4, 128)),
    ],
)
def test_quantisation_is_read(quantization: dict[str, Any], expected: tuple[str, int, int]) -> None:
    scheme = read_architecture({**c.QWEN2_7B, "quantization_config": quantization}).quantization
    assert (scheme.method, scheme.bits, scheme.group_size) == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "kimi_linear"}, "linear-attention"),
        ({"model_type": "mamba2"}, "state-space"),
        ({"model_type": "t5"}, "encoder-decoder"),
        ({"model_type": "nobody_knows"}, "its layers are unknown"),
        ({"is_encoder_decoder": True}, "encoder's input"),
        ({"layer_types": ["linear_attention"] * 28}, "'linear_attention'"),
        ({"layer_types": ["a_new_kind"] * 28}, "'a_new_kind'"),
        ({"index_topk": 2048}, "index_topk is set"),
        ({"mamba_d_state": 128}, "mamba_d_state is set"),
        ({"quantization_config": {"quant_method": "new"}}, "quant_method 'new'"),
    ],
)
def test_what_would_have_to_be_guessed_is_declined(change: c.Config, words: str) -> None:
    with pytest.raises(UnsupportedModelError, match="would have to be guessed") as caught:
        read_architecture({**c.QWEN2_7B, **change})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "path", "found"),
    [
        ({"hidden_size": 0}, "config.json.hidden_size", "0"),
        ({"hidden_size": -1}, "config.json.hidden_size", "-1"),
        ({"hidden_size": 10**30}, "config.json.hidden_size", "1" + "0" * 30),
        ({"hidden_size": "3584"}, "config.json.hidden_size", "'3584'"),
        ({"hidden_size": True}, "config.json.hidden_size", "True"),
        ({"hidden_size": 3584.5}, "config.json.hidden_size", "3584.5"),
        ({"hidden_size": float("nan")}, "config.json.hidden_size", "nan"),
        ({"hidden_size": None}, "config.json.hidden_size", "not set"),
        ({"hidden_size": [3584]}, "config.json.hidden_size", "[3584]"),
        ({"num_hidden_layers": 10**6}, "config.json.num_hidden_layers", "1000000"),
        ({"num_key_value_heads": 5}, "config.json.num_key_value_heads", "5"),
        ({"num_attention_heads": 27}, "config.json.num_key_value_heads", "4"),
        ({"vocab_size": 0}, "config.json.vocab_size", "0"),
        ({"model_type": 7}, "config.json.model_type", "7"),
        ({"model_type": None}, "config.json.model_type", "not set"),
        ({"torch_dtype": "int3"}, "config.json.torch_dtype", "'int3'"),
        ({"tie_word_embeddings": "no"}, "config.json.tie_word_embeddings", "'no'"),
        ({"layer_types": "full"}, "config.json.layer_types", "'full'"),
        ({"layer_types": ["full_attention"]}, "config.json.layer_types", "1 entries"),
        ({"quantization_config": 4}, "config.json.quantization_config", "4"),
        ({"text_config": []}, "config.json.text_config", "[]"),
    ],
)
def test_broken_values_are_named(change: c.Config, path: str, found: str) -> None:
    with pytest.raises(ModelConfigError) as caught:
        read_architecture({**c.QWEN2_7B, **change})
    problem = caught.value.problems[0]
    assert problem.path == path
    assert found in problem.found
    assert problem.allowed


def test_more_experts_per_token_than_experts_are_refused() -> None:
    with pytest.raises(ModelConfigError, match="at most 8, all experts"):
        read_architecture({**c.MIXTRAL, "num_experts_per_tok": 9})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from((c.GEMMA3_27B, c.DEEPSEEK_V2_LITE, c.GPT_OSS_20B)), st.data())
def test_nothing_in_a_config_ends_in_a_traceback(config: c.Config, data: st.DataObject) -> None:
    keys = (
        *config,
        "quantization_config",
        "text_config",
        "layer_types",
        "head_dim",
        "rope_scaling",
    )
    key = data.draw(st.sampled_from(keys))
    try:
        model = read_architecture({**config, key: data.draw(JSON)})
    except AtelierError:
        return
    assert count_parameters(model) > 0
