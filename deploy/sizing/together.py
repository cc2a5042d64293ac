"""Models of one Ollama, of which so many are loaded at a time: what they take of GPUs together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deploy.errors import every
from deploy.sizing.fit import Fit
from deploy.sizing.overhead import Overhead
from deploy.sizing.reasons import Reason, ReasonKind, RemedyKind, reason, remedy
from deploy.sizing.request import Sizing

ROUNDING_GIB = 1e-9


def total_gib(sizing: Sizing) -> float:
    """What a model takes of each of its GPUs."""
    own = sizing.weights_gib_per_gpu + sizing.kv_cache_gib_per_gpu
    return own + sizing.overhead_gib_per_gpu


def size_together(sizings: Sequence[Sizing], most: int, usable_gib: float) -> Sizing:
    """Size models that one Ollama loads and unloads: each alone, and the largest side by side.

    Ollama runs a process for each model that is loaded, with buffers and a context of its own.

    Args:
        sizings: of each model alone, on the same GPUs.
        most: how many are loaded at a time, ``OLLAMA_MAX_LOADED_MODELS``.
        usable_gib: what they may have of each GPU.

    Returns:
        That of a model which does not fit alone; else of the largest models that can be loaded at
        the same time, with the requests and the speed of the one that has least of them.
    """
    refused = next((sizing for sizing in sizings if not sizing.fits), None)
    if refused:
        return refused
    loaded = sorted(sizings, key=total_gib, reverse=True)[:most]
    needed_gib = sum(map(total_gib, loaded))
    unsure_gib = sum(sizing.overhead.uncertainty_gib for sizing in loaded)
    why: tuple[Reason, ...] = ()
    if needed_gib > usable_gib + ROUNDING_GIB:
        fits, why = Fit.NO, (_too_many(loaded, needed_gib, usable_gib),)
    else:
        is_sure = all(sizing.fits is Fit.YES for sizing in sizings)
        fits = Fit.YES if is_sure and needed_gib + unsure_gib <= usable_gib else Fit.PROBABLY
    return replace(
        loaded[0],
        fits=fits,
        reasons=why,
        weights_gib_per_gpu=sum(sizing.weights_gib_per_gpu for sizing in loaded),
        overhead=_sum([sizing.overhead for sizing in loaded]),
        kv_cache_gib_per_gpu=sum(sizing.kv_cache_gib_per_gpu for sizing in loaded),
        concurrent_users=min(sizing.concurrent_users for sizing in sizings),
        tokens_per_second_per_user=min(each.tokens_per_second_per_user for each in sizings),
    )


def _too_many(loaded: Sequence[Sizing], needed_gib: float, usable_gib: float) -> Reason:
    fitting, room = 0, usable_gib
    for sizing in loaded:
        room -= total_gib(sizing)
        fitting += room >= 0
    return reason(
        ReasonKind.LOADED_TOGETHER,
        remedy(RemedyKind.FEWER_LOADED, most=max(fitting, 1)),
        remedy(RemedyKind.SMALLER_QUANTIZATION),
        remedy(RemedyKind.MORE_MEMORY),
        names=every(sizing.model for sizing in loaded),
        needed_gib=needed_gib,
        usable_gib=usable_gib,
    )


def _sum(overheads: Sequence[Overhead]) -> Overhead:
    """Of several processes on a GPU."""
    return Overhead(
        activation_gib=sum(each.activation_gib for each in overheads),
        cuda_graphs_gib=0.0,
        non_torch_gib=sum(each.non_torch_gib for each in overheads),
        uncertainty_gib=sum(each.uncertainty_gib for each in overheads),
    )
