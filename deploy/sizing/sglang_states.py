"""States of requests in SGLang: a pool of slots, next to that of tokens.

Sources, of 0.5.21: ``_handle_max_mamba_cache`` and ``_calculate_mamba_ratio`` in
``sglang/srt/mem_cache/kv_cache_configurator.py``; ``mamba2_state_dtype`` in
``sglang/srt/configs/mamba_utils.py``.
"""

from __future__ import annotations

from dataclasses import replace

from deploy.catalog.state_layers import StateLayers
from deploy.units import GIB

SLOTS_PER_REQUEST = 5
"""A running request's own state, those of its prefixes, and two that are written in turn
(``extra_buffer``); less without overlapping steps."""
SHARE = 0.9 / 1.9
"""Of what is left for states and tokens, what states have: ``--mamba-full-memory-ratio`` 0.9."""
CONVOLUTION_BYTES, STATE_BYTES = 2, 4
"""Of an element: 16 bits, and 32 where the config.json names no type."""


def slot_bytes(state: StateLayers, tp: int, layers: int) -> int:
    """Bytes of one slot on one GPU, in all layers with a state."""
    kept = replace(state, element_bytes=state.element_bytes or STATE_BYTES)
    return layers * kept.state_bytes(tp, CONVOLUTION_BYTES)


def requests_that_fit(left_gib: float, slot: int, most: int) -> int:
    """Requests whose states fit where upstream shares the memory out; one at least.

    Args:
        left_gib: what is left for states and tokens.
        slot: bytes of a slot.
        most: requests of a step.
    """
    slots = int(max(left_gib, 0.0) * GIB * SHARE // slot) - 1
    return max(min(slots // SLOTS_PER_REQUEST, most), 1)


def slots_of(requests: int) -> int:
    """``--max-mamba-cache-size`` for so many requests at once."""
    return requests * SLOTS_PER_REQUEST


def pool_gib(requests: int, slot: int) -> float:
    """What the pool takes, with the one slot that pads it."""
    return (slots_of(requests) + 1) * slot / GIB
