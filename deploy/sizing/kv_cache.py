"""The KV cache of one pipeline stage: bytes per block, blocks per request, tokens.

vLLM gives every layer pages of the same size and groups layers of one kind; a block spans one page
of each layer of a group, and a request takes blocks from every group (vllm/v1/core/kv_cache_utils).
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.catalog.architecture import Architecture
from deploy.catalog.attention_layers import AttentionLayer
from deploy.catalog.weight_tensors import share

BLOCK_TOKENS = 16
"""Tokens of a block: vLLM's default on CUDA."""
KV_DTYPE_BYTES = {"fp8": 1, "float16": 2, "bfloat16": 2, "float32": 4}
UNEVEN = 1.25
"""Up to this ratio the larger number of layers sets the size of a group."""


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
    """Tokens of a step: a window keeps that many more while they are computed."""

    @property
    def block_bytes(self) -> int:
        """Bytes of one block."""
        return self.page_bytes * self.layers_per_group

    @property
    def groups(self) -> int:
        """Groups that a request takes blocks from."""
        return self.full_groups + self.sliding_groups

    def blocks(self, available_bytes: float) -> int:
        """Whole blocks in so much memory."""
        return max(int(available_bytes // self.block_bytes), 0) if self.block_bytes else 0

    def tokens(self, blocks: int) -> int:
        """Tokens that fit if each kept its place in every layer."""
        return blocks // self.groups * BLOCK_TOKENS

    def request_blocks(self, context_tokens: int) -> int:
        """Blocks of a request with so many tokens."""
        full = share(context_tokens, BLOCK_TOKENS)
        kept = min(self.window - 1 + self.max_num_batched_tokens, context_tokens)
        sliding = share(kept, BLOCK_TOKENS) + 1
        return self.full_groups * full + self.sliding_groups * sliding

    def longest_request(self, blocks: int, limit: int = 10**8) -> int:
        """Tokens of the longest request that fits, at most ``limit``."""
        if self.full_groups:
            # every block of a request without sliding windows is full of its tokens
            limit = min(limit, blocks // self.full_groups * BLOCK_TOKENS)
        low, high = (0 if self.sliding_groups else limit), limit
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.request_blocks(middle) <= blocks
            low, high = (middle, high) if fits else (low, middle - 1)
        return low


def kv_layout(
    model: Architecture, layers: range, tp: int, kv_dtype: str, max_num_batched_tokens: int
) -> KvLayout:
    """The layout of a stage's layers on one GPU."""
    kinds = [model.layers[layer] for layer in layers]
    sliding = [kind for kind in kinds if kind.kind == "sliding"]
    full_count, sliding_count = len(kinds) - len(sliding), len(sliding)
    size = _group_size(full_count, sliding_count)
    return KvLayout(
        page_bytes=BLOCK_TOKENS * token_bytes_per_layer(model, tp, kv_dtype),
        layers_per_group=size,
        full_groups=share(full_count, size),
        sliding_groups=share(sliding_count, size),
        window=_window(sliding),
        max_num_batched_tokens=max_num_batched_tokens,
    )


def token_bytes_per_layer(model: Architecture, tp: int, kv_dtype: str) -> int:
    """Bytes of one token in one layer on one GPU; MLA's latent is kept whole on each."""
    size = KV_DTYPE_BYTES[kv_dtype]
    if model.mla:
        return (model.mla.kv_lora_rank + model.mla.rope_head_dim) * size
    return 2 * share(model.kv_heads, tp) * model.head_dim * size


def _group_size(full: int, sliding: int) -> int:
    if not full or not sliding:
        return full or sliding
    low, high = sorted((full, sliding))
    return high if high < low * UNEVEN else low


def _window(sliding: list[AttentionLayer]) -> int:
    return max((layer.window for layer in sliding), default=1)
