"""What a GGUF model takes on GPUs with llama.cpp and Ollama.

Sources: Ollama's ``GraphSize`` (fs/ggml/ggml.go), whose terms are llama.cpp's own buffers to the
MiB (fedora-copr/logdetective #106: 164 MiB at 2048 tokens, 2144 MiB at 32768), and its
``FlashAttention``, which says for which models it is on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from deploy.catalog.architecture import Architecture
from deploy.catalog.weight_tensors import count_parameters
from deploy.sizing.request import SizingRequest
from deploy.units import GIB

BITS_PER_WEIGHT = {
    "f16": 16.0,
    "q8_0": 8.5,
    "q6_k": 6.56,
    "q5_k_m": 5.68,
    "q5_0": 5.54,
    "q4_k_m": 4.84,
    "q4_k_s": 4.58,
    "q4_0": 4.55,
    "q3_k_m": 3.91,
    "q2_k": 3.35,
    "mxfp4": 5.36,
}
"""Whole files, as llama.cpp's quantize README lists them (Llama 2 7B); Ollama's ``gpt-oss:20b``."""
CACHE_BLOCK = 32
KV_BYTES = {"f16": 2.0, "q8_0": 34 / CACHE_BLOCK, "q4_0": 18 / CACHE_BLOCK}
"""A value in the KV cache; quantised ones are kept in blocks of 32 with a scale of 16 bits."""
CACHE_TYPES = {"auto": "f16", "fp8": "q8_0"}
"""What llama.cpp calls caches that other engines call so."""
STATE_BYTES = 4
"""llama.cpp keeps states in f32 (llama_memory_recurrent)."""
COMPUTE_TOKENS = 512
"""llama.cpp computes prompts in batches of this many tokens (n_ubatch)."""
CONTEXT_GIB = 0.45
"""CUDA context and kernels: Ollama keeps 457 MiB of each GPU for them."""
UNCERTAINTY_GIB = 0.5
"""Of each GPU: what else a desktop keeps there, and how layers of unequal size are shared out."""
GRAPH_UNCERTAINTY = 0.1
FLASH_ATTENTION = frozenset({
    "gemma3_text", "glm4_moe_lite", "gpt_oss", "ministral3", "olmo3", "qwen3", "qwen3_moe",
    "qwen3_5_text", "qwen3_5_moe_text", "qwen3_next", "qwen3_vl_text", "qwen3_vl_moe_text",
})  # fmt: skip
"""Models that Ollama turns it on for; a quantised cache needs it too."""
WITHOUT_FLASH_ATTENTION = frozenset({"gemma2"})
"""It cannot be turned on for these, nor where keys and values differ in size."""
FLASH_CAPABILITY = (7, 0)
GPT_OSS_WINDOW = 4096
"""Tokens that Ollama keeps for each slot in gpt-oss' sliding layers."""


@dataclass(frozen=True)
class GgufMemory:
    """A GGUF model with so many slots."""

    request: SizingRequest
    method: str
    slots: int
    """Requests at the same time."""

    @property
    def model(self) -> Architecture:
        """The model."""
        return self.request.model

    @cached_property
    def file_bytes(self) -> float:
        """Size of the file."""
        known = self.request.weights_gib
        return known * GIB if known else count_parameters(self.model) * self.bits / 8

    @property
    def bits(self) -> float:
        """Bits of a weight."""
        return BITS_PER_WEIGHT[self.method]

    @cached_property
    def draft(self) -> GgufMemory | None:
        """The model that drafts tokens: as many slots and as long a context, its cache in f16.

        ``common_speculative_init_result`` makes one context of it for all slots.
        """
        drafts = self.request.speculation
        if drafts is None or drafts.draft is None:
            return None
        own = replace(
            self.request,
            model=drafts.draft,
            weights_gib=drafts.draft_gib,
            kv_cache_dtype="auto",
            speculation=None,
        )
        return GgufMemory(own, self.method, self.slots)

    @cached_property
    def weights_bytes(self) -> float:
        """What of the files goes to the GPUs: input embeddings of their own stay with the CPU."""
        return self.own_weights_bytes + (self.draft.weights_bytes if self.draft else 0.0)

    @cached_property
    def own_weights_bytes(self) -> float:
        """The same without the draft's."""
        if self.model.tied_embeddings:
            return self.file_bytes
        share = self.model.vocab * self.model.hidden / count_parameters(self.model)
        return self.file_bytes * (1 - share)

    @cached_property
    def kv_bytes_per_token(self) -> float:
        """Bytes that one token takes in the layers that keep every token."""
        return self._token_bytes("full", "mla")

    @property
    def has_flash_attention(self) -> bool:
        """Whether attention is computed without a matrix over the whole context."""
        old = any(
            device.vendor == "nvidia" and device.compute_capability < FLASH_CAPABILITY
            for device in self.request.devices
        )
        by_default = self.model.model_type in FLASH_ATTENTION
        asked = self.request.flash_attention
        if asked is None:
            asked = by_default or self.cache_type != "f16"
        without = self.model.mla is not None or self.model.model_type in WITHOUT_FLASH_ATTENTION
        return asked and not without and not old

    @property
    def cache_type(self) -> str:
        """How llama.cpp keeps keys and values."""
        said = self.request.kv_cache_dtype
        return CACHE_TYPES.get(said, said)

    @property
    def can_read_cache(self) -> bool:
        """Whether llama.cpp starts with a cache of this type (``llama_init_from_model``)."""
        model = self.model
        widths = {layer.head_dim or model.head_dim for layer in model.layers}
        is_even = not any(width % CACHE_BLOCK for width in widths)
        return self.cache_type == "f16" or (self.has_flash_attention and is_even)

    def cache_bytes(self, context_tokens: int) -> float:
        """KV cache and states of all slots, the draft's too."""
        drafts = self.draft.cache_bytes(context_tokens) if self.draft else 0.0
        return self.own_cache_bytes(context_tokens) + drafts

    def own_cache_bytes(self, context_tokens: int) -> float:
        """The same without the draft's."""
        kept = min(self._window, context_tokens) * self.slots + COMPUTE_TOKENS
        sliding = self._token_bytes("sliding") * min(kept, context_tokens * self.slots)
        full = context_tokens * self.slots * self.kv_bytes_per_token
        state = self.model.state.state_bytes(1, STATE_BYTES) if self.model.state else 0
        states = sum(layer.kind == "state" for layer in self.model.layers)
        return full + sliding + states * state * self.slots

    def graph_bytes(self, context_tokens: int) -> float:
        """Buffers of a batch on each GPU, the draft's too."""
        drafts = self.draft.graph_bytes(context_tokens) if self.draft else 0.0
        return self._own_graph_bytes(context_tokens) + drafts

    def _own_graph_bytes(self, context_tokens: int) -> float:
        """The output's logits, or a layer with its attention."""
        model, cells = self.model, context_tokens * self.slots
        heads = 0.5 if self.has_flash_attention else model.heads
        layer = 1 + 4 * model.hidden + cells * (1 + heads)
        return 4.0 * COMPUTE_TOKENS * max(model.hidden + model.vocab, layer)

    def needed_bytes(self, context_tokens: int) -> float:
        """All of it, on all GPUs."""
        weights = self.weights_bytes + self.cache_bytes(context_tokens)
        return weights + self.own_bytes(context_tokens) * len(self.request.devices)

    def own_bytes(self, context_tokens: int) -> float:
        """What each GPU keeps apart from weights and cache."""
        return CONTEXT_GIB * GIB + self.graph_bytes(context_tokens)

    def room_bytes(self, context_tokens: int) -> float:
        """Weights and cache that fit, as they are shared out over the GPUs.

        Layers go to GPUs by their memory, or by the parts that are declared: the one with the least
        room for its part decides. With rows the first GPU has the whole cache next to its part of
        the weights.
        """
        own, request = self.own_bytes(context_tokens), self.request
        rooms = [max(device.usable_gib * GIB - own, 0.0) for device in request.devices]
        if request.split_mode == "layer" and not request.tensor_split:
            return sum(rooms)
        cache = self.cache_bytes(context_tokens) if request.split_mode == "row" else 0.0
        rooms[0] = max(rooms[0] - cache, 0.0)
        parts = request.tensor_split or (1.0,) * len(rooms)
        shares = [part / sum(parts) for part in parts]
        return min(room / share for room, share in zip(rooms, shares, strict=True)) + cache

    def holds(self, context_tokens: int) -> bool:
        """Whether the GPUs have room for weights and cache."""
        needed = self.weights_bytes + self.cache_bytes(context_tokens)
        return needed <= self.room_bytes(context_tokens)

    def unsure_bytes(self, context_tokens: int) -> float:
        """How much more it can be on the pessimistic side.

        Layers are not divided: of several GPUs, one may have one more than its part.
        """
        graph = self.graph_bytes(context_tokens) * GRAPH_UNCERTAINTY
        held = self.weights_bytes + self.cache_bytes(context_tokens)
        count = len(self.request.devices)
        layer = held / len(self.model.layers) if count > 1 else 0.0
        return (max(UNCERTAINTY_GIB * GIB, layer) + graph) * count

    @property
    def total_bytes(self) -> float:
        """Memory of all GPUs."""
        return sum(device.usable_gib for device in self.request.devices) * GIB

    def _token_bytes(self, *kinds: str) -> float:
        """Bytes of one token in all layers of these kinds."""
        model, mla = self.model, self.model.mla
        elements = 0
        for layer in model.layers:
            if layer.kind not in kinds:
                continue
            heads, width = layer.kv_heads or model.kv_heads, layer.head_dim or model.head_dim
            elements += mla.kv_lora_rank + mla.rope_head_dim if mla else 2 * heads * width
        return elements * KV_BYTES[self.cache_type]

    @property
    def _window(self) -> int:
        window = max((layer.window for layer in self.model.layers), default=0)
        return max(window, GPT_OSS_WINDOW) if self.model.model_type == "gpt_oss" else window
