"""Which kind of attention each layer has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploy.catalog.config_reader import ConfigReader
from deploy.catalog.model_families import Family, declined

AttentionKind = Literal["full", "sliding", "mla", "state"]
LAYER_TYPES: dict[str, AttentionKind] = {"full_attention": "full", "sliding_attention": "sliding"}
STATE_LAYER_TYPES = {
    "full_attention": "full",
    "attention": "full",
    "linear_attention": "state",
    "mamba": "state",
}
STATE_KEYS = ("linear_num_key_heads", "linear_num_value_heads", "mamba_d_state", "mamba_n_heads")
"""Keys of the layers with a state whose memory is modelled."""
FOREIGN_KEYS = (
    "linear_num_key_heads",
    "linear_num_value_heads",
    "mamba_d_state",
    "mamba_n_heads",
    "ssm_cfg",
    "ssm_state_size",
    "state_size",
    "index_topk",
    "index_head_dim",
    "cross_attention_layers",
    "attention_chunk_size",
    "num_kv_shared_layers",
    "compress_ratios",
    "attn_layer_period",
    "hybrid_override_pattern",
    "linear_attn_config",
    "sparse_attention_config",
)
"""Keys that come with kinds of attention or state whose memory is not modelled."""


@dataclass(frozen=True)
class AttentionLayer:
    """Attention of one layer."""

    kind: AttentionKind
    """``full`` and ``mla`` keep every token, ``sliding`` the last ``window``, ``state`` none."""
    window: int = 0
    """Tokens that a sliding layer keeps."""


def read_attention_layers(
    config: ConfigReader, family: Family, count: int
) -> tuple[AttentionLayer, ...]:
    """The attention of each layer.

    Raises:
        UnsupportedModelError: if a layer's kind is not one whose memory is known.
    """
    own = STATE_KEYS if family.state != "none" else ()
    for key in FOREIGN_KEYS:
        if config.has(key) and key not in own:
            raise declined(f"{key} is set", "it belongs to attention of another kind")
    if family.state != "none":
        return _with_state(config, count)
    if family.attention == "mla":
        return (AttentionLayer("mla"),) * count
    window = _window(config, family)
    types = config.items("layer_types")
    if types:
        return _listed(config, types, count, window)
    if not window:
        return (AttentionLayer("full"),) * count
    pattern = config.integer(
        "sliding_window_pattern", "_sliding_window_pattern", default=family.sliding_pattern or 1,
        maximum=1000,
    )  # fmt: skip
    sliding = AttentionLayer("sliding", window)
    if pattern == 1:
        return (sliding,) * count
    full = AttentionLayer("full")
    return tuple(sliding if (layer + 1) % pattern else full for layer in range(count))


def _with_state(config: ConfigReader, count: int) -> tuple[AttentionLayer, ...]:
    """Full attention in one layer of four where config.json does not list them."""
    full, state = AttentionLayer("full"), AttentionLayer("state")
    types = config.items("layer_types")
    if not types:
        every = config.integer("full_attention_interval", default=4, maximum=1000)
        return tuple(state if (layer + 1) % every else full for layer in range(count))
    if len(types) != count:
        raise config.error("layer_types", f"{len(types)} entries", f"{count}, one per layer")
    for kind in types:
        if kind not in STATE_LAYER_TYPES:
            raise declined(f"a layer of type {kind!r}", "the memory of that kind is not modelled")
    return tuple(full if STATE_LAYER_TYPES[str(kind)] == "full" else state for kind in types)


def _window(config: ConfigReader, family: Family) -> int:
    """Tokens that sliding layers keep; 0 where the window never takes effect."""
    if not config.has("sliding_window"):
        return 0
    if not config.boolean("use_sliding_window", default=family.uses_sliding_window):
        return 0
    window = config.integer("sliding_window", minimum=0, maximum=10**8)
    context = config.integer("max_position_embeddings", default=10**8, maximum=10**8)
    return window if window < context else 0


def _listed(
    config: ConfigReader, types: tuple[object, ...], count: int, window: int
) -> tuple[AttentionLayer, ...]:
    if len(types) != count:
        raise config.error("layer_types", f"{len(types)} entries", f"{count}, one per layer")
    for kind in types:
        if kind not in LAYER_TYPES:
            raise declined(f"a layer of type {kind!r}", "the memory of that kind is not modelled")
    sliding = AttentionLayer("sliding", window) if window else AttentionLayer("full")
    kinds = {"full_attention": AttentionLayer("full"), "sliding_attention": sliding}
    return tuple(kinds[str(kind)] for kind in types)
