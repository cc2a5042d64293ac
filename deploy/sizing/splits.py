"""How an engine may split a model over GPUs: what it shares with others, and rules of its own."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.catalog.architecture import Architecture
from deploy.catalog.experts import ExpertSplit
from deploy.catalog.quantization import Quantization
from deploy.sizing import tgi
from deploy.sizing.parallelism import LISTED_UP_TO, tensor_parallel_problems
from deploy.sizing.reasons import Reason, ReasonKind, reason
from deploy.sizing.trade_offs import owners
from deploy.spec.engine_kinds import EngineKind

EVEN_EXPERTS = ("sglang", "tensorrt_llm")
"""Engines that keep as many whole experts on each GPU: ``num_global_routed % ep_size`` in SGLang's
``layers/moe/fused_moe_triton/layer.py`` (0.5.21), ``num_experts % self.ep_size`` in TensorRT-LLM's
``_torch/modules/fused_moe/interface.py``. vLLM keeps one more on some."""


def engine_split_problems(
    kind: EngineKind, model: Architecture, scheme: Quantization, tp: int, experts: ExpertSplit
) -> tuple[Reason, ...]:
    """Why an engine cannot share each layer of a model out over ``tp`` GPUs."""
    shared = tensor_parallel_problems(model, scheme, tp, experts.slices)
    return (*shared, *_own_problems(kind, model, tp, experts))


def _own_problems(
    kind: EngineKind, model: Architecture, tp: int, experts: ExpertSplit
) -> Iterator[Reason]:
    if kind == "tgi":
        yield from tgi.split_problems(model, tp)
    if kind in EVEN_EXPERTS and model.moe is not None and model.moe.experts % experts.groups:
        count = model.moe.experts
        yield reason(ReasonKind.UNEVEN_EXPERTS, experts=count, gpus=experts.groups)


def whole_experts_help(
    kind: EngineKind, model: Architecture, scheme: Quantization, tp: int
) -> bool:
    """Whether an engine could share each layer out if GPUs kept whole experts."""
    if model.moe is None or kind not in owners("enable_expert_parallel"):
        return False
    return not engine_split_problems(kind, model, scheme, tp, ExpertSplit(1, tp))


def legal_splits(
    kind: EngineKind, model: Architecture, scheme: Quantization, *, whole_experts: bool
) -> tuple[int, ...]:
    """Every legal ``tensor_parallel_size`` of an engine, up to 16 GPUs.

    Args:
        kind: the engine.
        model: the model.
        scheme: how its weights are kept.
        whole_experts: whether GPUs keep whole experts in place of slices.
    """
    ways = (
        (tp, ExpertSplit(1, tp) if whole_experts else ExpertSplit(tp))
        for tp in range(1, LISTED_UP_TO + 1)
    )
    return tuple(
        tp for tp, experts in ways if not engine_split_problems(kind, model, scheme, tp, experts)
    )
