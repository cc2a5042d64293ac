"""From the chosen arrangement to what is said of it, and of those that were not chosen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deploy.catalog.weight_tensors import count_active_parameters, count_parameters
from deploy.sizing.choose import Scored, split_problems, split_sizes
from deploy.sizing.explain import (
    chosen_reason,
    context_reasons,
    memory_reason,
    rejected_reason,
    request_warnings,
    state_blocks_reason,
)
from deploy.sizing.fit import Fit
from deploy.sizing.hardware import hardware_warnings
from deploy.sizing.reasons import Reason, ReasonKind, Remedy, RemedyKind, reason, remedy
from deploy.sizing.request import Rejected, Sizing, SizingRequest
from deploy.sizing.setup import Setup
from deploy.sizing.splits import whole_experts_help
from deploy.sizing.throughput import prefill_tokens_per_second
from deploy.sizing.told import told
from deploy.spec.engine_kinds import ENGINES


def sizing_of(chosen: Scored, scored: list[Scored]) -> Sizing:
    """What the chosen arrangement gives, and why no other one was taken.

    Args:
        chosen: the best arrangement.
        scored: all that were looked at.
    """
    best = chosen.arrangement
    setup, stage, request = best.setup, best.tightest, best.setup.request
    fits = Fit.NO if any(context_reasons(request)) else best.fits
    users = chosen.served(len(request.devices)) if fits else 0
    load = request.users or users
    per_user = chosen.speed(load / best.replicas) if fits and load else 0.0
    return replace(
        unsplit(setup),
        supported=True,
        fits=fits,
        reasons=tuple(_reasons(chosen, len(scored))),
        warnings=tuple(_warnings(chosen, users)),
        rejected=tuple(_rejected(chosen, scored)),
        replicas=best.replicas,
        tensor_parallel_size=best.tensor_parallel_size,
        pipeline_parallel_size=best.pipeline_parallel_size,
        data_parallel_size=setup.expert_ranks,
        weights_gib_per_gpu=stage.weights_gib,
        overhead=stage.overhead,
        kv_cache_gib_per_gpu=stage.kept_gib[0],
        least_kv_cache_gib_per_gpu=stage.kept_gib[1],
        pinned_kv_cache_bytes_per_gpu=stage.pinned_kv_cache_bytes if setup.release.can_pin else 0,
        kv_cache_tokens=best.kv_cache_tokens,
        kv_cache_bytes_per_token_per_gpu=stage.layout.bytes_per_token,
        max_model_len=best.max_model_len,
        max_model_len_that_fits=best.longest_context,
        context_tokens=best.context_tokens,
        concurrent_users=users,
        max_num_seqs=best.batch.max_num_seqs,
        max_num_batched_tokens=setup.batch.max_num_batched_tokens,
        tokens_per_second_per_user=per_user,
        tokens_per_second=per_user * load,
        prefill_tokens_per_second=prefill_tokens_per_second(best.engine)
        * best.replicas
        * setup.expert_ranks,
        at_the_limit=_at_the_limit(request, users) if fits else None,
        details={
            "users_at_reading_speed": chosen.comfortable * best.replicas if fits else 0,
            **(told(best) if fits else {}),
        },
    )


def unsplit(setup: Setup) -> Sizing:
    """What is known before any arrangement is."""
    request, scheme = setup.request, setup.precision.quantization
    return Sizing(
        supported=False,
        fits=Fit.NO,
        reasons=(),
        model=request.name,
        engine=request.engine,
        engine_version=request.engine_version,
        gpus=tuple(device.name for device in request.devices),
        writes=setup.model.keeps_tokens,
        parameters_billion=count_parameters(setup.model) / 1e9,
        active_parameters_billion=count_active_parameters(setup.model) / 1e9,
        dtype=setup.precision.dtype,
        quantization=scheme.method,
        kv_cache_dtype=setup.kv_dtype,
        gpu_memory_utilization=request.gpu_memory_utilization,
        usable_gib_per_gpu=setup.device.usable_gib,
        legal_tensor_parallel_sizes=setup.legal_splits,
        users=request.users,
    )


def _at_the_limit(request: SizingRequest, users: int) -> Reason:
    engine = ENGINES[request.engine]
    if engine.reserves:
        length = request.max_model_len
        return reason(ReasonKind.RESERVED, request=users + 1, context_tokens=length)
    if not request.model.keeps_tokens:
        return reason(ReasonKind.WAITS, request=users + 1)
    return reason(ReasonKind.QUEUE, request=users + 1, when_full=engine.when_full)


def _reasons(chosen: Scored, count: int) -> Iterator[Reason]:
    best = chosen.arrangement
    context = tuple(context_reasons(best.setup.request))
    if context:
        yield from context
    elif best.lacks_state_blocks:
        yield state_blocks_reason(best)
    elif not best.fits:
        yield memory_reason(best)
    elif count > 1:
        yield chosen_reason(best)


def _warnings(chosen: Scored, users: int) -> Iterator[Reason]:
    setup = chosen.arrangement.setup
    yield from hardware_warnings(
        setup.device, setup.precision, setup.request.kv_cache_dtype, setup.request.engine
    )
    yield from request_warnings(chosen.arrangement, users)


def _rejected(chosen: Scored, scored: list[Scored]) -> Iterator[Rejected]:
    setup = chosen.arrangement.setup
    for other in scored:
        if other is not chosen:
            split = other.arrangement
            why = rejected_reason(other, chosen)
            yield Rejected(split.tensor_parallel_size, split.pipeline_parallel_size, why)
    if setup.request.tensor_parallel_size:
        return
    for tp in split_sizes(len(setup.request.devices) // setup.expert_ranks):
        problems = split_problems(setup, tp)
        if problems:
            why = reason(ReasonKind.ILLEGAL_SPLIT, *whole_experts(setup, tp), causes=problems)
            yield Rejected(tp, 1, why)


def whole_experts(setup: Setup, tp: int) -> Iterator[Remedy]:
    """A way to share each layer out over so many GPUs, where slices of experts forbid it alone."""
    engine, scheme = setup.request.engine, setup.precision.quantization
    is_whole = setup.request.enable_expert_parallel
    if not is_whole and whole_experts_help(engine, setup.model, scheme, tp):
        yield remedy(RemedyKind.WHOLE_EXPERTS)
