"""The architecture of a model, read from its config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from deploy.catalog.attention_layers import AttentionLayer, read_attention_layers
from deploy.catalog.config_reader import ConfigReader
from deploy.catalog.model_families import Family, declined, find_family
from deploy.catalog.quantization import Quantization, read_quantization
from deploy.catalog.state_layers import StateLayers, read_state_layers

Dtype = Literal["bfloat16", "float16", "float32"]
STRETCHED = ("yarn", "linear", "dynamic")
"""Kinds of ``rope_scaling`` that lengthen the context by their factor."""
EXPERT_COUNTS = ("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts")
NESTED = ("text_config", "llm_config", "language_config")
DTYPES: dict[str, Dtype] = {
    "bfloat16": "bfloat16",
    "float16": "float16",
    "float32": "float32",
    "half": "float16",
}


@dataclass(frozen=True)
class Moe:
    """A mixture of experts."""

    experts: int
    """Routed experts of a layer."""
    experts_per_token: int
    """Routed experts that a token passes through."""
    intermediate: int
    """Inner size of one expert."""
    shared_intermediate: int
    """Inner size of the shared experts together; 0 without."""
    shared_gate: bool
    """Whether the shared experts have a gate of their own."""
    dense_layers: frozenset[int]
    """Layers that have an ordinary MLP instead."""


@dataclass(frozen=True)
class Mla:
    """Multi-head latent attention: keys and values compressed into one latent."""

    kv_lora_rank: int
    """Size of the latent."""
    q_lora_rank: int
    """Size of the queries' latent; 0 without."""
    nope_head_dim: int
    """Part of a head without position."""
    rope_head_dim: int
    """Part of a head with position; kept once per token."""
    v_head_dim: int
    """Size of a head's value."""


@dataclass(frozen=True)
class Architecture:
    """What follows from config.json for memory and compute."""

    model_type: str
    """Family, as config.json names it."""
    family: Family
    """What config.json does not say."""
    layers: tuple[AttentionLayer, ...]
    """Attention of each layer."""
    hidden: int
    """Size of the hidden state."""
    heads: int
    """Query heads."""
    kv_heads: int
    """Key and value heads."""
    head_dim: int
    """Size of a head."""
    intermediate: int
    """Inner size of an ordinary MLP."""
    vocab: int
    """Entries of the vocabulary."""
    tied_embeddings: bool
    """Whether input and output embeddings are one."""
    max_position_embeddings: int
    """Context that the model was made for."""
    dtype: Dtype
    """Type of the weights that are not quantised."""
    quantization: Quantization
    """How the others are stored."""
    moe: Moe | None = None
    """Mixture of experts, if it is one."""
    mla: Mla | None = None
    """Latent attention, if it has it."""
    state: StateLayers | None = None
    """What its layers without attention keep, if it has such layers."""
    vision_parameters: int = 0
    """Parameters of a vision tower, by its usual form."""

    @property
    def is_multimodal(self) -> bool:
        """Whether it takes images."""
        return self.vision_parameters > 0

    @property
    def has_state(self) -> bool:
        """Whether layers keep a state in place of tokens."""
        return self.state is not None

    def is_moe_layer(self, layer: int) -> bool:
        """Whether a layer has experts."""
        return self.moe is not None and layer not in self.moe.dense_layers

    def layer_kinds(self, layers: range | None = None) -> tuple[tuple[int, int], ...]:
        """A layer of each kind (with experts, with a state) and how many there are of it."""
        layers = range(len(self.layers)) if layers is None else layers
        of_kind: dict[tuple[bool, bool], list[int]] = {}
        for layer in layers:
            of_kind.setdefault(self._kind(layer), []).append(layer)
        return tuple((same[0], len(same)) for same in of_kind.values())

    def _kind(self, layer: int) -> tuple[bool, bool]:
        return self.is_moe_layer(layer), self.layers[layer].kind == "state"


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """Read the architecture from the contents of config.json.

    Raises:
        ModelConfigError: if a value is missing, of the wrong kind, absurd or contradictory.
        UnsupportedModelError: if the model's memory cannot be worked out honestly.
    """
    outer = ConfigReader(config)
    nested = next((name for name in NESTED if outer.has(name)), None)
    if nested is None:
        return _decoder(outer, outer)
    text = outer.section(nested)
    assert text is not None  # noqa: S101  the key was just seen
    architecture = _decoder(text, outer)
    return replace(architecture, vision_parameters=_vision_parameters(outer))


def _decoder(config: ConfigReader, outer: ConfigReader) -> Architecture:
    if outer.boolean("is_encoder_decoder", default=False):
        raise declined("is_encoder_decoder", "its memory follows the encoder's input too")
    model_type = config.text("model_type")
    if model_type in {"qwen2_vl", "qwen2_5_vl"}:
        model_type += "_text"
    family = find_family(model_type)
    count = config.integer("num_hidden_layers", "n_layer", maximum=1000)
    hidden = config.integer("hidden_size", "n_embd", maximum=2**20)
    heads = config.integer("num_attention_heads", "n_head", maximum=4096)
    kv_heads = _kv_heads(config, heads)
    intermediate = _intermediate(config, hidden)
    tied = family.tied_by_default
    return Architecture(
        model_type=model_type,
        family=_with_declared_biases(family, config),
        layers=read_attention_layers(config, family, count),
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=_head_dim(config, hidden, heads, family),
        intermediate=intermediate,
        vocab=config.integer("vocab_size", default=_nested_vocab(outer)),
        tied_embeddings=config.boolean(
            "tie_word_embeddings", default=outer.boolean("tie_word_embeddings", default=tied)
        ),
        max_position_embeddings=_context(config),
        dtype=_dtype(config, outer),
        quantization=read_quantization(outer if outer.has("quantization_config") else config),
        moe=_moe(config, count, intermediate),
        mla=_mla(config) if family.attention == "mla" else None,
        state=_state(config, family),
    )


def _context(config: ConfigReader) -> int:
    """Context that the model was made for, stretched positions included."""
    names = ("max_position_embeddings", "n_positions", "seq_length")
    context = config.integer(*names, default=8192, maximum=10**8)
    scaling = config.section("rope_scaling")
    kind = scaling.text("rope_type", "type", default="") if scaling else ""
    if scaling is None or kind not in STRETCHED:
        return context
    factor = scaling.number("factor", default=1.0, minimum=1.0, maximum=1024.0)
    own = scaling.integer("original_max_position_embeddings", default=context, maximum=10**8)
    return max(context, int((own if kind == "yarn" else context) * factor))


def _nested_vocab(outer: ConfigReader) -> int | None:
    return outer.integer("vocab_size") if outer.has("vocab_size") else None


def _kv_heads(config: ConfigReader, heads: int) -> int:
    if config.boolean("multi_query", default=False):
        return 1
    kv_heads = config.integer("num_key_value_heads", default=heads, maximum=4096)
    if heads % kv_heads:
        allowed = f"a divisor of num_attention_heads, {heads}"
        raise config.error("num_key_value_heads", kv_heads, allowed)
    return kv_heads


def _head_dim(config: ConfigReader, hidden: int, heads: int, family: Family) -> int:
    if config.has("head_dim"):
        return config.integer("head_dim", maximum=4096)
    if family.attention == "standard" and hidden % heads:
        allowed = f"a divisor of hidden_size, {hidden}, or head_dim declared as well"
        raise config.error("num_attention_heads", heads, allowed)
    return max(hidden // heads, 1)


def _intermediate(config: ConfigReader, hidden: int) -> int:
    names = ("intermediate_size", "n_inner", "ffn_hidden_size")
    if not config.has(*names) and config.has("n_embd"):
        return 4 * hidden
    if not config.has(*names) and config.has("moe_intermediate_size"):
        return config.integer("moe_intermediate_size")
    if config.has("shared_intermediate_size") and not _has_experts(config):
        return config.integer("shared_intermediate_size")
    return config.integer(*names)


def _with_declared_biases(family: Family, config: ConfigReader) -> Family:
    biases = config.boolean("use_bias", default=False) if config.has("use_bias") else None
    qkv = family.qkv_bias if biases is None else biases
    output = family.output_bias if biases is None else biases
    mlp = family.mlp_bias if biases is None else biases
    qkv = config.boolean("attention_bias", "use_qkv_bias", "qkv_bias", default=qkv)
    if config.text("model_type") in {"llama", "granite", "qwen3", "qwen3_moe", "cohere"}:
        output = config.boolean("attention_bias", default=output)
    output = config.boolean("attention_out_bias", default=output)
    norm = family.qk_norm
    if config.boolean("use_qk_norm", default=False) and norm == "none":
        norm = "head"
    return replace(
        family,
        qkv_bias=qkv,
        output_bias=output,
        mlp_bias=config.boolean("mlp_bias", default=mlp),
        qk_norm=norm,
    )


def _dtype(config: ConfigReader, outer: ConfigReader) -> Dtype:
    for reader in (config, outer):
        if reader.has("torch_dtype", "dtype"):
            name = reader.text("torch_dtype", "dtype").removeprefix("torch.")
            if name not in DTYPES:
                raise reader.error("torch_dtype", name, ", ".join(DTYPES))
            return DTYPES[name]
    return "bfloat16"


def _has_experts(config: ConfigReader) -> bool:
    counts = EXPERT_COUNTS
    return config.has(*counts) and config.integer(*counts, minimum=0, maximum=4096) > 1


def _moe(config: ConfigReader, layers: int, intermediate: int) -> Moe | None:
    if not _has_experts(config):
        return None
    experts = config.integer(*EXPERT_COUNTS, maximum=4096)
    per_token = config.integer("num_experts_per_tok", "num_experts_per_token", "moe_topk")
    if per_token > experts:
        raise config.error("num_experts_per_tok", per_token, f"at most {experts}, all experts")
    inner = config.integer("moe_intermediate_size", default=intermediate)
    shared = config.integer("n_shared_experts", default=0, minimum=0, maximum=4096) * inner
    names = ("shared_expert_intermediate_size", "shared_intermediate_size")
    shared = config.integer(*names, default=shared, minimum=0)
    return Moe(
        experts=experts,
        experts_per_token=per_token,
        intermediate=inner,
        shared_intermediate=shared,
        shared_gate=config.has("shared_expert_intermediate_size"),
        dense_layers=_dense_layers(config, layers),
    )


def _state(config: ConfigReader, family: Family) -> StateLayers | None:
    if family.state == "none":
        return None
    return read_state_layers(config, family.state, family.state_dtype)


def _dense_layers(config: ConfigReader, layers: int) -> frozenset[int]:
    first = config.integer("first_k_dense_replace", default=0, minimum=0, maximum=layers)
    step = config.integer("decoder_sparse_step", "moe_layer_freq", default=1, maximum=layers)
    listed = {layer for layer in config.items("mlp_only_layers") if isinstance(layer, int)}
    skipped = {layer for layer in range(layers) if step > 1 and (layer + 1) % step}
    return frozenset(range(first)) | listed | skipped


def _mla(config: ConfigReader) -> Mla:
    return Mla(
        kv_lora_rank=config.integer("kv_lora_rank", maximum=65536),
        q_lora_rank=config.integer("q_lora_rank", default=0, minimum=0, maximum=65536),
        nope_head_dim=config.integer("qk_nope_head_dim", maximum=4096),
        rope_head_dim=config.integer("qk_rope_head_dim", maximum=4096),
        v_head_dim=config.integer("v_head_dim", maximum=4096),
    )


def _vision_parameters(outer: ConfigReader) -> int:
    """Parameters of a vision transformer of the usual form, patch embedding included."""
    vision = outer.section("vision_config")
    if vision is None:
        return 0
    hidden = vision.integer("hidden_size", "embed_dim", "width", default=0, minimum=0)
    layers = vision.integer("num_hidden_layers", "depth", "layers", default=0, minimum=0)
    inner = vision.integer("intermediate_size", default=4 * hidden, minimum=0)
    patch = vision.integer("patch_size", default=14, maximum=1024)
    return layers * (4 * hidden * hidden + 2 * hidden * inner) + 3 * patch * patch * hidden
