"""The KV cache of one pipeline stage: bytes per block, blocks per request, tokens.

vLLM gives every layer pages of the same size and groups layers of one kind; a block spans one page
of each layer of a group, and a request takes blocks from every group (vllm/v1/core/kv_cache_utils).
Where layers keep a state, blocks are so long that a page holds one (_align_hybrid_block_size in
vllm/platforms/interface.py), and a request takes one block from each group of such layers.
Where layers of two kinds keep tokens of two sizes (Gemma 4), pages are as large as the larger
kind's, and blocks of the smaller hold more tokens (unify_kv_cache_spec_page_size). The index of
sparse attention is kept in a page of its own beside each latent one (UniformTypeKVCacheSpecs).
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.catalog.architecture import Architecture
from deploy.catalog.attention_layers import AttentionLayer
from deploy.catalog.weight_tensors import share

BLOCK_TOKENS = 16
"""Tokens of a block: vLLM's default on CUDA."""
KV_DTYPE_BYTES = {"fp8": 1, "float16": 2, "bfloat16": 2, "float32": 4}
INDEX_SCALED = 128
"""Values that share a scale in sparse attention's caches."""
UNEVEN = 1.5
"""Up to this ratio the larger number of layers sets the size of a group; 1.25 until 0.18."""


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
    index_bytes: int = 0
    """Bytes of a block that indexes of sparse attention take, in all layers together."""

    @property
    def block_bytes(self) -> int:
        """Bytes of one block."""
        return self.page_bytes * self.layers_per_group + self.index_bytes

    @property
    def groups(self) -> int:
        """Groups that a request takes blocks from."""
        return self.full_groups + self.sliding_groups + self.state_groups

    @property
    def bytes_per_token(self) -> float:
        """Bytes that one token more takes in every group that keeps tokens."""
        full = self.full_groups / self.block_tokens
        return self.block_bytes * (full + self.sliding_groups / self.window_block_tokens)

    def blocks(self, available_bytes: float) -> int:
        """Whole blocks in so much memory."""
        return max(int(available_bytes // self.block_bytes), 0) if self.block_bytes else 0

    def tokens(self, blocks: int) -> int:
        """Tokens that fit if each kept its place in every layer."""
        least = self.block_tokens
        if self.sliding_groups:
            least = min(least, self.window_block_tokens)
        return blocks // max(self.groups, 1) * least

    def request_blocks(self, context_tokens: int) -> int:
        """Blocks of a request with so many tokens."""
        full = share(context_tokens, self.block_tokens)
        kept = min(self.window - 1 + self.max_num_batched_tokens, context_tokens)
        sliding = share(kept, self.window_block_tokens) + 1
        return self.full_groups * full + self.sliding_groups * sliding + self.state_groups

    def longest_request(self, blocks: int, limit: int = 10**8) -> int:
        """Tokens of the longest request that fits, at most ``limit``."""
        if self.full_groups:
            # every block of a request without sliding windows is full of its tokens
            own = max(blocks - self.state_groups, 0)
            limit = min(limit, own // self.full_groups * self.block_tokens)
        low, high = (0 if self.sliding_groups else limit), limit
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.request_blocks(middle) <= blocks
            low, high = (middle, high) if fits else (low, middle - 1)
        return low


def kv_layout(  # noqa: PLR0913, PLR0917
    model: Architecture,
    layers: range,
    tp: int,
    kv_dtype: str,
    max_num_batched_tokens: int,
    uneven: float = UNEVEN,
) -> KvLayout:
    """The layout of a stage's layers on one GPU."""
    kinds = [model.layers[layer] for layer in layers]
    sliding = [kind for kind in kinds if kind.kind == "sliding"]
    full = [kind for kind in kinds if kind.kind in {"full", "mla"}]
    states = sum(kind.kind == "state" for kind in kinds)
    size = _group_size([n for n in (len(full), len(sliding), states) if n], uneven)
    per_token = max(
        (token_bytes(model, kind, tp, kv_dtype) for kind in {*full, *sliding}),
        default=token_bytes(model, AttentionLayer("full"), tp, kv_dtype),
    )
    block_tokens = _block_tokens(model, tp, per_token) if states else BLOCK_TOKENS
    page = block_tokens * per_token
    return KvLayout(
        page_bytes=page,
        layers_per_group=size,
        full_groups=share(len(full), size),
        sliding_groups=share(len(sliding), size),
        window=_window(sliding),
        max_num_batched_tokens=max_num_batched_tokens,
        state_groups=share(states, size),
        block_tokens=_tokens_of(page, full, model, tp, kv_dtype) or block_tokens,
        window_block_tokens=_tokens_of(page, sliding, model, tp, kv_dtype) or block_tokens,
        index_bytes=block_tokens * _index_token_bytes(model, full),
    )


def _tokens_of(
    page_bytes: int, layers: list[AttentionLayer], model: Architecture, tp: int, kv_dtype: str
) -> int:
    """Tokens of a page in layers of one kind; 0 without such layers."""
    if not layers:
        return 0
    return page_bytes // max(token_bytes(model, layer, tp, kv_dtype) for layer in set(layers))


def _index_token_bytes(model: Architecture, layers: list[AttentionLayer]) -> int:
    """A key in fp8 and its scale, for each layer with an index (DeepseekV32IndexerCache)."""
    if model.mla is None or not model.mla.is_sparse:
        return 0
    key = model.mla.index_head_dim
    return sum(layer.is_indexed for layer in layers) * (key + 4 * share(key, INDEX_SCALED))


def _block_tokens(model: Architecture, tp: int, bytes_per_token: int) -> int:
    """Tokens of a block whose page holds a state, in steps of the kernel's own block."""
    if model.state is None:
        return BLOCK_TOKENS
    state = model.state.state_bytes(tp, KV_DTYPE_BYTES[model.dtype])
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


def _window(sliding: list[AttentionLayer]) -> int:
    return max((layer.window for layer in sliding), default=1)
