"""The KV cache of one pipeline stage: bytes per block, blocks per request, tokens.

vLLM gives every layer pages of the same size and groups layers of one kind; a block spans one page
of each layer of a group, and a request takes blocks from every group (vllm/v1/core/kv_cache_utils).
Where layers keep a state, blocks are so long that a page holds one (_align_hybrid_block_size in
vllm/platforms/interface.py), and a request takes one block from each group of such layers.
Where layers of two kinds keep tokens of two sizes (Gemma 4), pages are as large as the larger
kind's, and blocks of the smaller hold more tokens (unify_kv_cache_spec_page_size). The index of
sparse attention is kept in a page of its own next to each latent one (UniformTypeKVCacheSpecs).
SGLang and TensorRT-LLM have no such groups: deploy/sizing/kv_pools.py.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from deploy.catalog.architecture import Architecture
from deploy.catalog.attention_layers import AttentionLayer
from deploy.catalog.weight_tensors import share

BLOCK_TOKENS = 16
"""Tokens of a block: vLLM's default on CUDA."""
KV_DTYPE_BYTES = {"fp8": 1, "float16": 2, "bfloat16": 2, "float32": 4}
INDEX_SCALED = 128
"""Values that share a scale in sparse attention's caches."""
WINDOW_SLACK_TOKENS = 256
"""What a request keeps in a pool of sliding layers' own beyond its window: SGLang frees tokens in
steps of 128 (``SGLANG_SWA_EVICTION_INTERVAL``) and of whole pages, 64 tokens at most."""
UNEVEN = 1.5
"""Up to this ratio the larger number of layers sets the size of a group; 1.25 until 0.18."""


@dataclass(frozen=True)
class KvSettings:
    """What decides the KV cache apart from the model and its layers."""

    tp: int = 1
    """GPUs that share each layer."""
    kv_dtype: str = "bfloat16"
    """Type of keys and values."""
    in_flight_tokens: int = 1
    """Tokens that may be computed and not settled: a window keeps that many more."""
    uneven: float = UNEVEN
    """Up to this ratio the larger number of layers sets the size of a group."""
    draft_layers: tuple[AttentionLayer, ...] = ()
    """Layers of a draft model or of multi-token prediction, which keep every token too."""
    draft_token_bytes: int = 0
    """Bytes of a token in one of them, where that is not as in the model's own."""
    speculative_tokens: int = 0
    """Tokens drafted at a time: a state is kept for each of them."""
    caches_prefixes: bool = False
    """Whether states are kept for prefixes too."""


@dataclass(frozen=True)
class KvLayout:
    """How the layers of a stage share its KV cache."""

    page_bytes: int
    """Bytes of a block in one layer."""
    layers_per_group: int
    """Layers that a block spans."""
    full_groups: int
    """Groups that keep every token."""
    sliding_groups: int
    """Groups that keep a window."""
    window: int
    """Tokens of that window."""
    max_num_batched_tokens: int
    """Tokens in flight: a window keeps that many more while they are computed."""
    state_groups: int = 0
    """Groups that keep a state."""
    block_tokens: int = BLOCK_TOKENS
    """Tokens of a block of layers that keep every token."""
    window_block_tokens: int = BLOCK_TOKENS
    """Tokens of a block of sliding layers."""
    more_bytes: int = 0
    """Bytes of a block that have other sizes: indexes of sparse attention, layers of a draft."""
    states_per_request: int = 1
    """Blocks of each group of states that a request takes (``MambaSpec.max_memory_usage_bytes``):
    its own, one more with prefix caching, and one for each token drafted."""
    states_follow_tokens: bool = False
    """Whether a state is kept for every block of tokens (``mamba_cache_mode`` all)."""
    window_pool_bytes: float = 0.0
    """Of a block's bytes, those of a pool that sliding layers have for themselves."""
    window_share: float = 1.0
    """Tokens of that pool for each token of the others."""
    slot_bytes: int = 0
    """Bytes of a request's states, where they have a pool of slots for themselves."""

    @cached_property
    def block_bytes(self) -> int:
        """Bytes of one block."""
        return self.page_bytes * self.layers_per_group + self.more_bytes

    @cached_property
    def groups(self) -> int:
        """Groups that a request takes blocks from."""
        return self.full_groups + self.sliding_groups + self.state_groups

    @cached_property
    def state_blocks(self) -> int:
        """Blocks that a request takes however short it is."""
        return self.state_groups * self.states_per_request

    @property
    def bytes_per_token(self) -> float:
        """Bytes that one token more takes in every group that keeps tokens."""
        full = self.full_groups / self.block_tokens
        return self.block_bytes * (full + self.sliding_groups / self.window_block_tokens)

    def read_bytes(self, context_tokens: float) -> float:
        """Bytes that a step reads of a request with so many tokens."""
        sliding = min(context_tokens, self.window)
        full = self.full_groups * context_tokens / self.block_tokens
        windows = self.sliding_groups * sliding / self.window_block_tokens
        read = (full + windows + self.state_groups) * self.block_bytes + self.slot_bytes
        if not self.window_pool_bytes:
            return read
        kept = full * self.window_pool_bytes
        return read - kept + kept * sliding / max(context_tokens, 1) / self.window_share

    def blocks(self, available_bytes: float) -> int:
        """Whole blocks in so much memory."""
        return max(int(available_bytes // self.block_bytes), 0) if self.block_bytes else 0

    def tokens(self, blocks: int) -> int:
        """Tokens that fit if each kept its place in every layer."""
        least = self.block_tokens
        if self.sliding_groups:
            least = min(least, self.window_block_tokens)
        return blocks // max(self.groups, 1) * least

    def requests(self, blocks: int, context_tokens: int, most: int) -> int:
        """Requests with so many tokens that fit, at most ``most``."""
        needed = self.request_blocks(context_tokens)
        return min(blocks // needed, most) if needed else most

    def request_blocks(self, context_tokens: int) -> int:
        """Blocks of a request with so many tokens."""
        if self.window_pool_bytes:
            context_tokens = max(context_tokens, self._window_pool_tokens(context_tokens))
        full = share(context_tokens, self.block_tokens)
        kept = min(self.window - 1 + self.max_num_batched_tokens, context_tokens)
        sliding = share(kept, self.window_block_tokens) + 1
        growing = self.full_groups + (self.state_groups if self.states_follow_tokens else 0)
        return growing * full + self.sliding_groups * sliding + self.state_blocks

    def _window_pool_tokens(self, context_tokens: int) -> int:
        """Tokens of the other pool next to what a request has in that of sliding layers."""
        kept = min(context_tokens, self.window + WINDOW_SLACK_TOKENS)
        return math.ceil(kept / self.window_share)

    def longest_request(self, blocks: int, limit: int = 10**8) -> int:
        """Tokens of the longest request that fits, at most ``limit``."""
        growing = self.full_groups + (self.state_groups if self.states_follow_tokens else 0)
        if growing:
            # every block of a request without sliding windows is full of its tokens
            own = max(blocks - self.state_blocks, 0)
            limit = min(limit, own // growing * self.block_tokens)
            kept = self.window - 1 + self.max_num_batched_tokens
            if self.window_pool_bytes:
                kept = self._window_pool_tokens(limit)
            sliding = self.sliding_groups * (share(kept, self.window_block_tokens) + 1)
            longest = (own - sliding) // growing * self.block_tokens
            if min(longest, limit) >= kept:  # windows are full: they take no more
                return min(longest, limit)
        low, high = (0 if self.sliding_groups or self.window_pool_bytes else limit), limit
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.request_blocks(middle) <= blocks
            low, high = (middle, high) if fits else (low, middle - 1)
        return low


def kv_layout(model: Architecture, layers: range, settings: KvSettings) -> KvLayout:
    """The layout of a stage's layers on one GPU."""
    return model.known((layers, settings), lambda: _kv_layout(model, layers, settings))


def _kv_layout(model: Architecture, layers: range, settings: KvSettings) -> KvLayout:
    tp, kv_dtype = settings.tp, settings.kv_dtype
    kinds = [model.layers[layer] for layer in layers]
    sliding = [kind for kind in kinds if kind.kind == "sliding"]
    full = [kind for kind in kinds if kind.kind in {"full", "mla"}]
    drafts = settings.draft_layers
    if not settings.draft_token_bytes:
        full, drafts = [*full, *drafts], ()
    states = sum(kind.kind == "state" for kind in kinds)
    size = _group_size([n for n in (len(full), len(sliding), states) if n], settings.uneven)
    per_token = max(
        (token_bytes(model, kind, tp, kv_dtype) for kind in {*full, *sliding}),
        default=token_bytes(model, AttentionLayer("full"), tp, kv_dtype),
    )
    block_tokens = _block_tokens(model, settings, per_token) if states else BLOCK_TOKENS
    page = block_tokens * per_token if model.keeps_tokens else 0
    own_states = 2 if settings.caches_prefixes and model.family.state == "delta" else 1
    follow = settings.caches_prefixes and model.family.state == "mamba2"
    more = index_token_bytes(model, full) + len(drafts) * settings.draft_token_bytes
    return KvLayout(
        page_bytes=page,
        layers_per_group=size,
        full_groups=share(len(full), size),
        sliding_groups=share(len(sliding), size),
        window=widest_window(sliding),
        max_num_batched_tokens=settings.in_flight_tokens,
        state_groups=share(states, size),
        block_tokens=_tokens_of(page, full, model, tp, kv_dtype) or block_tokens,
        window_block_tokens=_tokens_of(page, sliding, model, tp, kv_dtype) or block_tokens,
        more_bytes=block_tokens * more,
        states_per_request=(0 if follow else own_states) + settings.speculative_tokens,
        states_follow_tokens=follow,
    )


def kinds_of(model: Architecture, layers: range) -> tuple[tuple[AttentionLayer, int], ...]:
    """How many layers there are of each kind."""
    kinds = (model.layers[layer] for layer in layers)
    return model.known(("kinds", layers), lambda: tuple(Counter(kinds).items()))


def _tokens_of(
    page_bytes: int, layers: list[AttentionLayer], model: Architecture, tp: int, kv_dtype: str
) -> int:
    """Tokens of a page in layers of one kind; 0 without such layers."""
    if not layers:
        return 0
    return page_bytes // max(token_bytes(model, layer, tp, kv_dtype) for layer in set(layers))


def index_token_bytes(model: Architecture, layers: list[AttentionLayer]) -> int:
    """A key in fp8 and its scale, for each layer with an index (DeepseekV32IndexerCache)."""
    if model.mla is None or not model.mla.is_sparse:
        return 0
    key = model.mla.index_head_dim
    return sum(layer.is_indexed for layer in layers) * (key + 4 * share(key, INDEX_SCALED))


def _block_tokens(model: Architecture, settings: KvSettings, bytes_per_token: int) -> int:
    """Tokens of a block whose page holds a state, in steps of the kernel's own block."""
    if model.state is None:
        return BLOCK_TOKENS
    size, drafted = KV_DTYPE_BYTES[model.dtype], settings.speculative_tokens
    state = model.state.state_bytes(settings.tp, size, drafted)
    return BLOCK_TOKENS * share(state, BLOCK_TOKENS * bytes_per_token)


def token_bytes(model: Architecture, layer: AttentionLayer, tp: int, kv_dtype: str) -> int:
    """Bytes of one token in one layer on one GPU; MLA's latent is kept whole on each.

    Sparse attention keeps an fp8 latent with four scales and its positions in 16 bits: 656 bytes
    for DeepSeek (``fp8_ds_mla`` in vllm/v1/attention/backends/mla/flashmla_sparse.py).
    """
    size = KV_DTYPE_BYTES[kv_dtype]
    if model.mla is None:
        heads, width = layer.kv_heads or model.kv_heads, layer.head_dim or model.head_dim
        return 2 * share(heads, tp) * width * size
    latent, rope = model.mla.kv_lora_rank, model.mla.rope_head_dim
    if model.mla.is_sparse and kv_dtype == "fp8":
        return latent + 4 * share(latent, INDEX_SCALED) + 2 * rope
    return (latent + rope) * size


def _group_size(counts: list[int], uneven: float) -> int:
    if not counts:
        return 1
    least, most = min(counts), max(counts)
    return most if most < least * uneven else least


def widest_window(sliding: list[AttentionLayer]) -> int:
    """Tokens of the widest window; 1 without any."""
    return max((layer.window for layer in sliding), default=1)
