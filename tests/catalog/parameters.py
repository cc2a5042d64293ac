"""Parameters counted from a config.json: an account of its own, to check the catalogue by.

Norms, biases and the parameters of a vision encoder are left out: they come to less than 2%.
"""

from typing import Any

Config = dict[str, Any]


def count_parameters(config: Config) -> int:
    """Parameters of the language model that a config.json describes."""
    config = config.get("text_config") or config
    if "n_embd" in config:
        config = {
            "model_type": config["model_type"],
            "hidden_size": config["n_embd"],
            "intermediate_size": config["n_inner"],
            "num_hidden_layers": config["n_layer"],
            "num_attention_heads": config["n_head"],
            "vocab_size": config["vocab_size"],
            "tie_word_embeddings": True,
        }
    if "hybrid_override_pattern" in config:
        layers = sum(_pattern_layer(config, letter) for letter in config["hybrid_override_pattern"])
    else:
        layers = sum(_layer(config, index) for index in range(config["num_hidden_layers"]))
    tied = config.get(
        "tie_word_embeddings", config["model_type"] in ("xlm-roberta", "gemma3_text", "gemma4_text")
    )
    embeddings = config["vocab_size"] * config["hidden_size"] * (1 if tied else 2)
    positions = config["max_position_embeddings"] if config["model_type"] == "xlm-roberta" else 0
    return int(layers + embeddings + positions * config["hidden_size"])


def _pattern_layer(config: Config, letter: str) -> int:
    """A layer of Nemotron-H: one of Mamba2, attention, experts; MLPs have no gate."""
    hidden = config["hidden_size"]
    if letter == "M":
        return _mamba2(hidden, config["mamba_num_heads"], config["mamba_head_dim"],
                       config["n_groups"], config["ssm_state_size"])  # fmt: skip
    if letter == "*":
        return _attention(config)
    assert letter == "E"
    width = config.get("moe_latent_size") or hidden
    experts = config["n_routed_experts"] * 2 * width * config["moe_intermediate_size"]
    shared = 2 * hidden * config["moe_shared_expert_intermediate_size"]
    latent = 2 * hidden * width if width != hidden else 0
    return int(experts + shared + latent + hidden * config["n_routed_experts"])


def _mamba2(hidden: int, heads: int, head_dim: int, groups: int, state: int) -> int:
    inner = heads * head_dim
    return int(hidden * (2 * inner + 2 * groups * state + heads) + inner * hidden)


def _layer(config: Config, index: int) -> int:
    interval: int = config.get("full_attention_interval") or 1
    linear = (index + 1) % interval != 0
    types = config.get("layer_types") or []
    if config["model_type"] == "granitemoehybrid" and types[index] == "mamba":
        attention = _mamba2(config["hidden_size"], config["mamba_n_heads"], config["mamba_d_head"],
                            config["mamba_n_groups"], config["mamba_d_state"])  # fmt: skip
    elif config["model_type"] == "gemma4_text" and types[index] == "full_attention":
        attention = _global_attention(config)
    else:
        attention = _linear_attention(config) if linear else _attention(config)
    experts = next(
        (
            config[key]
            for key in ("n_routed_experts", "num_experts", "num_local_experts")
            if key in config
        ),
        0,
    )
    if not experts or index < config.get("first_k_dense_replace", 0):
        return attention + _feed_forward(config, config["intermediate_size"])
    width = config.get("moe_intermediate_size") or config["intermediate_size"]
    shared = config.get("shared_expert_intermediate_size") or 0
    shared = shared or config.get("shared_intermediate_size") or 0
    always = config.get("n_shared_experts", 0) * width + shared
    if config["model_type"] == "llama4_text":
        always = width
    if config["model_type"] == "gemma4_text":
        always = config["intermediate_size"]
    router = config["hidden_size"] * experts
    return int(attention + router + _feed_forward(config, experts * width + always))


def _feed_forward(config: Config, width: int) -> int:
    matrices = 2 if config["model_type"] in ("starcoder2", "xlm-roberta") else 3
    return int(matrices * config["hidden_size"] * width)


def _attention(config: Config) -> int:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    if "kv_lora_rank" in config:
        return _latent_attention(config, hidden, heads)
    head_dim = config.get("head_dim") or hidden // heads
    gated = 1 if config.get("full_attention_interval") else 0
    queries = (2 + gated) * hidden * heads * head_dim
    return int(queries + 2 * hidden * config.get("num_key_value_heads", heads) * head_dim)


def _global_attention(config: Config) -> int:
    """Gemma 4: wider heads, fewer keys, and values made from the keys."""
    heads, width = config["num_attention_heads"], config["global_head_dim"]
    projections = 2 * heads + config["num_global_key_value_heads"]
    return int(config["hidden_size"] * projections * width)


def _latent_attention(config: Config, hidden: int, heads: int) -> int:
    rope, nope = config["qk_rope_head_dim"], config["qk_nope_head_dim"]
    rank, query_rank = config["kv_lora_rank"], config["q_lora_rank"]
    query = heads * (nope + rope)
    queries = hidden * query_rank + query_rank * query if query_rank else hidden * query
    keys_and_values = hidden * (rank + rope) + rank * heads * (nope + config["v_head_dim"])
    return int(queries + keys_and_values + heads * config["v_head_dim"] * hidden)


def _linear_attention(config: Config) -> int:
    hidden = config["hidden_size"]
    keys = config["linear_num_key_heads"] * config["linear_key_head_dim"]
    values = config["linear_num_value_heads"] * config["linear_value_head_dim"]
    return int(hidden * (2 * keys + 3 * values + 2 * config["linear_num_value_heads"]))
