"""Which kind of attention each layer has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploy.catalog.config_reader import ConfigReader
from deploy.catalog.experts import read_pattern
from deploy.catalog.model_families import Family, declined

AttentionKind = Literal["full", "sliding", "mla", "state", "encoder", "none"]
LAYER_TYPES: dict[str, AttentionKind] = {"full_attention": "full", "sliding_attention": "sliding"}
STATE_LAYER_TYPES = {
    "full_attention": "full",
    "attention": "full",
    "linear_attention": "state",
    "mamba": "state",
}
STATE_KEYS = ("linear_num_key_heads", "linear_num_value_heads", "mamba_d_state", "mamba_n_heads")
"""Keys of the layers with a state whose memory is modelled."""
INDEX_KEYS = ("index_topk", "index_head_dim")
"""Keys of DeepSeek's sparse attention."""
PATTERN_KEYS = ("ssm_state_size", "hybrid_override_pattern")
"""Keys of Nemotron-H."""
CHUNK_KEYS = ("attention_chunk_size",)
"""Keys of Llama 4: vLLM keeps every token of chunked layers too, unless it is told otherwise
(VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE)."""
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
    """``full`` and ``mla`` keep every token, ``sliding`` the last ``window``, the others none."""
    window: int = 0
    """Tokens that a sliding layer keeps."""
    head_dim: int = 0
    """Size of its heads, where it is not the model's."""
    kv_heads: int = 0
    """Its key and value heads, where they are not as many as the model's."""
    keys_are_values: bool = False
    """Whether values are made from the keys, without weights of their own; both are kept."""
    is_indexed: bool = False
    """Whether it keeps an index of its own (sparse attention)."""


def read_attention_layers(
    config: ConfigReader, family: Family, count: int
) -> tuple[AttentionLayer, ...]:
    """The attention of each layer.

    Raises:
        UnsupportedModelError: if a layer's kind is not one whose memory is known.
    """
    _decline_foreign(config, family)
    if family.encodes:
        return (AttentionLayer("encoder"),) * count
    if family.layer_pattern:
        kinds: dict[str, AttentionKind] = {"M": "state", "*": "full", "E": "none", "-": "none"}
        return tuple(AttentionLayer(kinds[letter]) for letter in read_pattern(config, count))
    if family.state != "none":
        return _with_state(config, count)
    if family.attention == "mla":
        return _latent(config, family, count)
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


def _decline_foreign(config: ConfigReader, family: Family) -> None:
    own: tuple[str, ...] = STATE_KEYS if family.state != "none" else ()
    own += PATTERN_KEYS if family.layer_pattern else ()
    own += INDEX_KEYS if family.sparse_index else ()
    own += CHUNK_KEYS if family.interleaved_experts else ()
    for key in FOREIGN_KEYS:
        if config.is_in_use(key) and key not in own:
            raise declined(f"{key} is set", "it belongs to attention of another kind")


def _latent(config: ConfigReader, family: Family, count: int) -> tuple[AttentionLayer, ...]:
    """MLA in every layer; of sparse ones, some may share the index of the layer before."""
    types = config.items("indexer_types") or ("full",) * count
    if len(types) != count:
        raise config.error("indexer_types", f"{len(types)} entries", f"{count}, one per layer")
    indexed = [family.sparse_index and kind == "full" for kind in types]
    return tuple(AttentionLayer("mla", is_indexed=index) for index in indexed)


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
    kinds = {"full_attention": _full(config), "sliding_attention": sliding}
    return tuple(kinds[str(kind)] for kind in types)


def _full(config: ConfigReader) -> AttentionLayer:
    """A layer that keeps every token; Gemma 4's have heads of another size, and fewer."""
    keys_are_values = config.boolean("attention_k_eq_v", default=False)
    fewer = config.integer("num_global_key_value_heads", default=0, minimum=0, maximum=4096)
    return AttentionLayer(
        "full",
        head_dim=config.integer("global_head_dim", default=0, minimum=0, maximum=4096),
        kv_heads=fewer if keys_are_values else 0,
        keys_are_values=keys_are_values,
    )
