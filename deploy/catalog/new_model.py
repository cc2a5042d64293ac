"""A catalogue row from a model's config.json, and what such a row still lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from deploy.catalog.architecture import read_architecture
from deploy.catalog.models import Model
from deploy.catalog.vision import HIDDEN_KEYS, LAYER_KEYS
from deploy.catalog.weight_tensors import count_active_parameters, count_parameters

SIZE_KEYS = frozenset({
    "architectures", "model_type", "text_config", "vision_config", "torch_dtype", "dtype",
    "hidden_size", "intermediate_size", "intermediate_size_mlp", "num_hidden_layers",
    "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size",
    "max_position_embeddings", "tie_word_embeddings", "attention_bias", "mlp_bias", "use_bias",
    "use_qk_norm", "sliding_window", "use_sliding_window", "sliding_window_pattern",
    "layer_types", "moe_intermediate_size", "num_experts", "n_routed_experts",
    "num_local_experts", "num_experts_per_tok", "top_k_experts", "n_shared_experts",
    "shared_expert_intermediate_size", "shared_intermediate_size",
    "moe_shared_expert_intermediate_size", "moe_latent_size", "first_k_dense_replace",
    "decoder_sparse_step", "mlp_only_layers", "interleave_moe_layer_step",
    "attention_chunk_size", "num_nextn_predict_layers", "mtp_num_hidden_layers",
    "full_attention_interval", "linear_conv_kernel_dim", "linear_key_head_dim",
    "linear_num_key_heads", "linear_num_value_heads", "linear_value_head_dim",
    "mamba_ssm_dtype", "mamba_ssm_cache_dtype", "mamba_num_heads", "mamba_head_dim",
    "mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state", "mamba_d_conv",
    "n_groups", "ssm_state_size", "conv_kernel", "hybrid_override_pattern",
    "layers_block_type", "q_lora_rank", "kv_lora_rank", "qk_nope_head_dim",
    "qk_rope_head_dim", "v_head_dim", "index_head_dim", "index_n_heads", "index_topk",
    "indexer_types", "global_head_dim", "num_global_key_value_heads", "attention_k_eq_v",
    "num_kv_shared_layers", "quantization_config", "n_embd", "n_inner", "n_layer", "n_head",
    "n_positions", "depth", "patch_size", "rope_scaling", "vt_hidden_size",
    "vt_intermediate_size", "vt_num_hidden_layers", "embed_dim",
})  # fmt: skip
"""Keys of a config.json that say how large a model is."""
SCHEME_KEYS = frozenset({
    "quant_method", "quant_algo", "weight_block_size", "bits", "group_size", "zero_point",
    "modules_to_not_convert", "ignore", "config_groups",
})  # fmt: skip


def size_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config.json that says how large a model is, keys and values verbatim."""
    kept: dict[str, Any] = {}
    for key, value in config.items():
        if key not in SIZE_KEYS or value is None:
            continue
        if key == "quantization_config":
            kept[key] = {name: part for name, part in value.items() if name in SCHEME_KEYS}
        else:
            kept[key] = size_config(value) if isinstance(value, Mapping) else value
    return kept


def new_row(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the catalogue as far as a config.json tells it; what it does not is null.

    Raises:
        ModelConfigError: if a value is missing, of the wrong kind, absurd or contradictory.
        UnsupportedModelError: if the model's memory cannot be worked out honestly.
    """
    model = read_architecture(config)
    active = round(count_active_parameters(model) / 1e9, 3)
    scheme = model.quantization.method
    return {
        name: {
            "name": None,
            "family": None,
            "year": None,
            "made_for_code": None,
            "origin": {"organisation": None, "country": None},
            "roles": ["chat"],
            "licence": None,
            "parameters_billion": round(count_parameters(model) / 1e9, 3),
            **({"active_parameters_billion": active} if model.moe else {}),
            "max_model_len": model.max_position_embeddings,
            "tool_call_parser": None,
            "reasoning_parser": None,
            "scores": {},
            "config": size_config(config),
            "variants": [
                {
                    "quantization": scheme,
                    "format": "safetensors",
                    "size_bytes": None,
                    "huggingface": None,
                }
            ],
            "source": None,
        }
    }


def row_text(row: dict[str, Any]) -> str:
    """A row as YAML, as the files below ``catalog/models`` have them."""
    return yaml.safe_dump(row, sort_keys=False, allow_unicode=True, width=120)


def lacks(model: Model) -> tuple[str, ...]:
    """What a row has not, and sizing, deployments or recommendations would use."""
    missing = [
        ("scores", not model.scores and "chat" in model.roles),
        ("tool_call_parser", model.tool_call_parser is None and "chat" in model.roles),
        ("a size of its weights", not any(variant.size_bytes for variant in model.variants)),
        ("weights in 4 or 8 bits", len(model.variants) == 1),
        ("a GGUF file", not any(variant.format == "gguf" for variant in model.variants)),
        ("the size of its vision encoder", _has_unknown_vision(model)),
        ("languages", model.languages is None and model.made_for_code),
    ]
    return tuple(name for name, absent in missing if absent)


def _has_unknown_vision(model: Model) -> bool:
    vision = model.config.get("vision_config")
    keys = (HIDDEN_KEYS, LAYER_KEYS)
    return vision is not None and not all(any(key in vision for key in names) for names in keys)
