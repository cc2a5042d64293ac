"""Mixtures of experts, as config.json describes them."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.catalog.config_reader import ConfigReader
from deploy.catalog.model_families import Family

EXPERT_COUNTS = ("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts")
PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "top_k_experts")
SHARED_SIZES = (
    "shared_expert_intermediate_size",
    "shared_intermediate_size",
    "moe_shared_expert_intermediate_size",
)


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
    """Layers that have no experts."""
    latent: int = 0
    """Size that routed experts work in, where it is not the hidden size (Nemotron 3 Super)."""
    beside_mlp: bool = False
    """Whether layers with experts have an ordinary MLP too (Gemma 4)."""

    def width(self, hidden: int) -> int:
        """Size of what goes into a routed expert."""
        return self.latent or hidden


@dataclass(frozen=True)
class ExpertSplit:
    """How GPUs share the routed experts of a layer out."""

    slices: int = 1
    """GPUs that share each expert."""
    groups: int = 1
    """GPUs, or groups of them, that keep other experts each."""


def has_experts(config: ConfigReader) -> bool:
    """Whether config.json names more than one expert."""
    counts = EXPERT_COUNTS
    return config.has(*counts) and config.integer(*counts, minimum=0, maximum=4096) > 1


def read_moe(config: ConfigReader, family: Family, layers: int, intermediate: int) -> Moe | None:
    """The experts, or ``None`` without.

    Raises:
        ModelConfigError: if a value is missing, absurd or contradictory.
    """
    if not has_experts(config):
        return None
    experts = config.integer(*EXPERT_COUNTS, maximum=4096)
    per_token = config.integer(*PER_TOKEN)
    if per_token > experts:
        raise config.error("num_experts_per_tok", per_token, f"at most {experts}, all experts")
    inner = config.integer("moe_intermediate_size", default=intermediate)
    if family.interleaved_experts:
        inner = config.integer("intermediate_size")
    return Moe(
        experts=experts,
        experts_per_token=per_token,
        intermediate=inner,
        shared_intermediate=_shared(config, family, inner),
        shared_gate=config.has("shared_expert_intermediate_size"),
        dense_layers=_dense_layers(config, family, layers),
        latent=config.integer("moe_latent_size", default=0, minimum=0),
        beside_mlp=family.mlp_beside_experts,
    )


def _shared(config: ConfigReader, family: Family, inner: int) -> int:
    if family.interleaved_experts:
        return inner
    count = config.integer("n_shared_experts", default=0, minimum=0, maximum=4096)
    return config.integer(*SHARED_SIZES, default=count * inner, minimum=0)


def _dense_layers(config: ConfigReader, family: Family, layers: int) -> frozenset[int]:
    if family.layer_pattern:
        pattern = read_pattern(config, layers)
        return frozenset(layer for layer, kind in enumerate(pattern) if kind != "E")
    first = config.integer("first_k_dense_replace", default=0, minimum=0, maximum=layers)
    steps = ("decoder_sparse_step", "moe_layer_freq", "interleave_moe_layer_step")
    step = config.integer(*steps, default=1, maximum=layers)
    listed = {layer for layer in config.items("mlp_only_layers") if isinstance(layer, int)}
    skipped = {layer for layer in range(layers) if step > 1 and (layer + 1) % step}
    return frozenset(range(first)) | listed | skipped


PATTERN_LETTERS = {"mamba": "M", "attention": "*", "moe": "E", "mlp": "-"}
"""Letters of Nemotron-H's ``hybrid_override_pattern``, by the names of ``layers_block_type``."""


def read_pattern(config: ConfigReader, layers: int) -> str:
    """A letter for each layer of a Nemotron-H: M Mamba2, * attention, E experts, - an MLP."""
    name = "layers_block_type" if config.items_or_text("layers_block_type") else ""
    name = name or "hybrid_override_pattern"
    found = config.items_or_text(name)
    pattern = "".join(PATTERN_LETTERS.get(str(kind), str(kind)) for kind in found)
    if len(pattern) != layers or set(pattern) - set(PATTERN_LETTERS.values()):
        allowed = f"{layers} letters, one per layer: M, *, E or -"
        raise config.error(name, f"{len(pattern)} entries", allowed)
    return pattern
