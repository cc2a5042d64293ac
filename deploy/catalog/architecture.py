"""The architecture of a model, read from its config.json."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from deploy.catalog.attention_layers import AttentionLayer, read_attention_layers
from deploy.catalog.config_reader import ConfigReader
from deploy.catalog.decoder_sizes import (
    Dtype,
    read_context,
    read_dtype,
    read_head_dim,
    read_intermediate,
    read_kv_heads,
    read_vocab,
    with_declared_biases,
)
from deploy.catalog.experts import Moe, read_moe, read_pattern
from deploy.catalog.latent_attention import Mla, read_mla
from deploy.catalog.model_families import Family, declined, find_family
from deploy.catalog.quantization import Quantization, read_quantization
from deploy.catalog.state_layers import StateLayers, read_state_layers
from deploy.catalog.vision import VisionEncoder, read_vision

Known = TypeVar("Known")
NESTED = ("text_config", "llm_config", "language_config")
MTP_KEYS = ("num_nextn_predict_layers", "mtp_num_hidden_layers")


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
    vision: VisionEncoder | None = None
    """Its vision tower, if it has one."""
    mtp_layers: int = 0
    """Layers that predict further tokens (multi-token prediction)."""
    draft_vocab: int = 0
    """Entries of the vocabulary that an EAGLE-3 head drafts from; all of them otherwise."""
    bare_layers: frozenset[int] = frozenset()
    """Layers without an MLP or experts (Nemotron-H)."""
    _known: dict[Hashable, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What was worked out of it before: sizes that many estimates need again."""

    def known(self, key: Hashable, work_out: Callable[[], Known]) -> Known:
        """What follows from the model and a key alone; it is worked out once."""
        if key not in self._known:
            self._known[key] = work_out()
        found: Known = self._known[key]
        return found

    @property
    def vision_parameters(self) -> int:
        """Parameters of the vision tower; 0 without."""
        return self.vision.parameters if self.vision else 0

    @property
    def keeps_tokens(self) -> bool:
        """Whether there is a KV cache: encoders have none."""
        return not self.family.encodes

    @property
    def grows(self) -> bool:
        """Whether its KV cache grows with every token of a prompt."""
        return any(layer.kind in {"full", "mla"} for layer in self.layers)

    @property
    def has_state(self) -> bool:
        """Whether layers keep a state in place of tokens."""
        return self.state is not None

    @cached_property
    def largest_head_dim(self) -> int:
        """Of the layers with the largest heads."""
        return max((layer.head_dim for layer in self.layers), default=0) or self.head_dim

    def is_moe_layer(self, layer: int) -> bool:
        """Whether a layer has experts."""
        return self.moe is not None and layer not in self.moe.dense_layers

    def layer_kinds(self, layers: range | None = None) -> tuple[tuple[int, int], ...]:
        """A layer of each kind (attention, experts, MLP) and how many there are of it."""
        if layers is None or len(layers) == len(self.layers):
            return self._all_kinds
        return self._kinds(layers)

    @cached_property
    def _all_kinds(self) -> tuple[tuple[int, int], ...]:
        return self._kinds(range(len(self.layers)))

    def _kinds(self, layers: range) -> tuple[tuple[int, int], ...]:
        of_kind: dict[tuple[bool, bool, AttentionLayer], list[int]] = {}
        for layer in layers:
            of_kind.setdefault(self.kind(layer), []).append(layer)
        return tuple((same[0], len(same)) for same in of_kind.values())

    def kind(self, layer: int) -> tuple[bool, bool, AttentionLayer]:
        """Whether it has experts, whether it is without an MLP, and its attention."""
        return self.is_moe_layer(layer), layer in self.bare_layers, self.layers[layer]


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
    vision = read_vision(outer, outer.text("model_type", default=""))
    return replace(architecture, vision=vision)


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
    kv_heads = read_kv_heads(config, heads)
    intermediate = read_intermediate(config, hidden)
    tied = family.tied_by_default
    vocab = read_vocab(config, outer)
    return Architecture(
        model_type=model_type,
        family=with_declared_biases(family, config),
        layers=read_attention_layers(config, family, count),
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=read_head_dim(config, hidden, heads, family),
        intermediate=intermediate,
        vocab=vocab,
        tied_embeddings=config.boolean(
            "tie_word_embeddings", default=outer.boolean("tie_word_embeddings", default=tied)
        ),
        max_position_embeddings=read_context(config) - family.unused_positions,
        dtype=read_dtype(config, outer),
        quantization=read_quantization(outer if outer.has("quantization_config") else config),
        moe=read_moe(config, family, count, intermediate),
        mla=read_mla(config) if family.attention == "mla" else None,
        state=_state(config, family),
        bare_layers=_bare_layers(config, family, count),
        mtp_layers=config.integer(*MTP_KEYS, default=0, minimum=0, maximum=64),
        draft_vocab=config.integer("draft_vocab_size", default=vocab),
    )


def _state(config: ConfigReader, family: Family) -> StateLayers | None:
    if family.state == "none":
        return None
    return read_state_layers(config, family.state, family.state_dtype)


def _bare_layers(config: ConfigReader, family: Family, layers: int) -> frozenset[int]:
    if not family.layer_pattern:
        return frozenset()
    pattern = read_pattern(config, layers)
    return frozenset(layer for layer, kind in enumerate(pattern) if kind in "M*")
