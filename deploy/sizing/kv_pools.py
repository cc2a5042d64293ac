"""The KV cache of SGLang and TensorRT-LLM: pools whose slots each hold a token in every layer.

Sliding layers have a pool of their own in SGLang, for a share of the tokens of the others; states
of requests have slots. TensorRT-LLM keeps every token of sliding layers, too.
"""

from __future__ import annotations

import math

from deploy.catalog.architecture import Architecture
from deploy.sizing.kv_cache import (
    BLOCK_TOKENS,
    KvLayout,
    KvSettings,
    index_token_bytes,
    token_bytes,
    widest_window,
)
from deploy.sizing.sglang_states import slot_bytes


def pool_layout(
    model: Architecture, layers: range, settings: KvSettings, window_share: float
) -> KvLayout:
    """The layout of a stage's layers on one GPU.

    Args:
        model: the model.
        layers: of the stage.
        settings: what else decides.
        window_share: tokens of sliding layers' pool for each token of the others.
    """
    key = ("pools", layers, settings, window_share)
    return model.known(key, lambda: _layout(model, layers, settings, window_share))


def _layout(
    model: Architecture, layers: range, settings: KvSettings, window_share: float
) -> KvLayout:
    tp, dtype = settings.tp, settings.kv_dtype
    kinds = [model.layers[layer] for layer in layers]
    sliding = [kind for kind in kinds if kind.kind == "sliding"]
    full = [kind for kind in kinds if kind.kind in {"full", "mla"}]
    states = sum(kind.kind == "state" for kind in kinds)
    kept = sum(token_bytes(model, kind, tp, dtype) for kind in full)
    windows = sum(token_bytes(model, kind, tp, dtype) for kind in sliding) * window_share
    per_token = kept + windows + index_token_bytes(model, full)
    return KvLayout(
        page_bytes=math.ceil(per_token * BLOCK_TOKENS),
        layers_per_group=1,
        full_groups=1,
        sliding_groups=0,
        window=widest_window(sliding),
        max_num_batched_tokens=settings.in_flight_tokens,
        slot_bytes=slot_bytes(model.state, tp, states) if model.state and states else 0,
        window_pool_bytes=windows * BLOCK_TOKENS,
        window_share=window_share,
    )
