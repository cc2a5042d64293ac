"""Why: reasons with figures and ways out, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deploy.catalog.quantization import BY_NAME
from deploy.sizing import sglang
from deploy.sizing.arrangement import (
    MINIMUM_CONTEXT_TOKENS,
    Arrangement,
    arrange,
)
from deploy.sizing.choose import Scored
from deploy.sizing.fit import Fit
from deploy.sizing.hardware import hardware_refusals
from deploy.sizing.overhead import MIB
from deploy.sizing.reasons import Reason, ReasonKind, Remedy, RemedyKind, reason, remedy
from deploy.sizing.request import SizingRequest
from deploy.sizing.setup import USUAL_UTILIZATION
from deploy.sizing.sglang_states import SLOTS_PER_REQUEST, pool_gib
from deploy.sizing.speculation import Speculation, draft_weights_bytes
from deploy.spec.engine_kinds import ENGINES
from deploy.units import GIB


def memory_reason(best: Arrangement) -> Reason:
    """Why it does not fit, and what would."""
    stage, setup = best.tightest, best.setup
    wanted = best.wanted_context
    blocks = stage.layout.request_blocks(wanted)
    return reason(
        ReasonKind.MEMORY,
        *_ways_out(best),
        weights_gib=stage.weights_gib,
        overhead_gib=stage.overhead.total_gib,
        kv_cache_gib=blocks * stage.layout.block_bytes / GIB,
        context_tokens=wanted,
        device=setup.device.name,
        budget_gib=setup.budget_gib,
        usable_gib=setup.device.usable_gib,
        gpu_memory_utilization=setup.request.gpu_memory_utilization,
    )


def state_blocks_reason(best: Arrangement) -> Reason:
    """Why so many requests cannot be: each needs a block for its state."""
    blocks = best.state_blocks
    return reason(
        ReasonKind.STATE_BLOCKS,
        remedy(RemedyKind.LOWER_MAX_NUM_SEQS, most=max(blocks, 1)),
        max_num_seqs=best.batch.max_num_seqs,
        blocks=blocks,
    )


def probably_reason(best: Arrangement) -> Reason:
    """Why it only probably fits, and what would for sure."""
    stage = best.tightest
    blocks = stage.layout.request_blocks(best.max_model_len)
    return reason(
        ReasonKind.PROBABLY,
        *_ways_out(best),
        least_gib=max(stage.least_kv_cache_gib, 0.0),
        kv_cache_gib=stage.kv_cache_gib,
        needed_gib=blocks * stage.layout.block_bytes / GIB,
        context_tokens=best.max_model_len,
        outside_gib=stage.overhead.outside_gib,
    )


def _ways_out(best: Arrangement) -> tuple[Remedy, ...]:
    ways = [
        *_shorter_context(best),
        *_shorter_steps(best),
        *_fewer_requests(best),
        *_smaller_weights(best),
        *_more_gpus(best),
    ]
    if best.setup.request.gpu_memory_utilization < USUAL_UTILIZATION:
        ways.append(remedy(RemedyKind.RAISE_UTILIZATION))
    return tuple(ways) or (remedy(RemedyKind.OTHER_GPUS_OR_MODEL),)


def _shorter_context(best: Arrangement) -> Iterator[Remedy]:
    if MINIMUM_CONTEXT_TOKENS <= best.safe_context < best.wanted_context:
        yield remedy(RemedyKind.SHORTER_CONTEXT, tokens=best.safe_context)


def _shorter_steps(best: Arrangement) -> Iterator[Remedy]:
    """Of SGLang, which keeps memory free for each token of a step."""
    setup, tokens = best.setup, sglang.LEAST_TOKENS
    if not setup.is_sglang or best.batch.max_num_batched_tokens <= tokens:
        return
    shorter = replace(setup, request=replace(setup.request, max_num_batched_tokens=tokens))
    if arrange(shorter, best.tensor_parallel_size, best.pipeline_parallel_size).fits:
        yield remedy(RemedyKind.SHORTER_STEPS, tokens=tokens)


def _fewer_requests(best: Arrangement) -> Iterator[Remedy]:
    """Of SGLang, where each request that a step may hold has slots for its states."""
    setup, declared = best.setup, best.setup.request.max_num_seqs
    if not (best.state_requests and declared):
        return
    fewer = replace(setup, request=replace(setup.request, max_num_seqs=None))
    other = arrange(fewer, best.tensor_parallel_size, best.pipeline_parallel_size)
    if other.fits and other.batch.max_num_seqs < declared:
        yield remedy(RemedyKind.LOWER_MAX_NUM_SEQS, most=other.batch.max_num_seqs)


def _is_a_way(arrangement: Arrangement) -> bool:
    """Whether an arrangement is worth naming: of others than vLLM nothing fits for sure."""
    is_sized_for_sure = arrangement.setup.request.engine == "vllm"
    return arrangement.fits is Fit.YES if is_sized_for_sure else bool(arrangement.fits)


def _smaller_weights(best: Arrangement) -> Iterator[Remedy]:
    setup = best.setup
    if setup.precision.quantization.is_quantized or setup.request.weights_gib is not None:
        return
    for method in ("fp8", "awq"):
        precision = replace(setup.precision, quantization=BY_NAME[method])
        if any(hardware_refusals(setup.device, precision, "auto", False)):
            continue
        other = replace(setup, precision=precision)
        split = (best.tensor_parallel_size, best.pipeline_parallel_size)
        if _is_a_way(arrange(other, *split)):
            yield remedy(RemedyKind.QUANTIZE, method=method)
            return


def _more_gpus(best: Arrangement) -> Iterator[Remedy]:
    setup, here = best.setup, len(best.setup.request.devices)
    for tp in setup.legal_splits:
        if tp > here and _is_a_way(arrange(setup, tp, 1)):
            yield remedy(RemedyKind.MORE_GPUS, gpus=tp, device=setup.device.name)
            return


def context_reasons(request: SizingRequest) -> Iterator[Reason]:
    """Why the context that was asked for cannot be."""
    limit = request.model.max_position_embeddings
    if (request.max_model_len or 0) > limit:
        way = remedy(RemedyKind.SHORTER_CONTEXT, tokens=limit)
        yield reason(ReasonKind.BEYOND_MODEL, way, limit=limit, tokens=request.max_model_len)
        return
    longest = request.max_model_len or limit
    if (request.context_tokens or 0) > longest:
        ways = [remedy(RemedyKind.LOWER_CONTEXT)]
        if longest < limit:
            ways.append(remedy(RemedyKind.RAISE_MAX_MODEL_LEN))
        tokens = request.context_tokens
        yield reason(ReasonKind.CONTEXT_TOO_LONG, *ways, longest=longest, tokens=tokens)


def chosen_reason(best: Arrangement) -> Reason:
    """Why this arrangement."""
    return reason(
        ReasonKind.CHOSEN,
        tensor_parallel_size=best.tensor_parallel_size,
        pipeline_parallel_size=best.pipeline_parallel_size,
        replicas=best.replicas,
    )


def rejected_reason(other: Scored, best: Scored) -> Reason:
    """Why not that one."""
    split, gpus = other.arrangement, len(other.arrangement.setup.request.devices)
    stage = split.tightest
    if not split.fits:
        return reason(
            ReasonKind.DOES_NOT_FIT,
            weights_gib=stage.weights_gib,
            overhead_gib=stage.overhead.total_gib,
            budget_gib=split.setup.budget_gib,
        )
    served, best_served = other.served(gpus), best.served(gpus)
    if served < best_served:
        return reason(ReasonKind.FEWER_USERS, users=served, best=best_served)
    if not other.is_preferred and split.setup.model.keeps_tokens:
        return reason(
            ReasonKind.PIPELINE_SLOWER,
            users=served,
            reading=other.comfortable * (gpus // other.gpus),
            best_reading=best.comfortable * (gpus // best.gpus),
        )
    return reason(ReasonKind.NO_BETTER)


def request_warnings(best: Arrangement, users: int) -> Iterator[Reason]:
    """What works, but not as the operator may expect."""
    setup, request = best.setup, best.setup.request
    gpus = len(request.devices)
    used = best.gpus * best.replicas
    if used < gpus:
        yield reason(ReasonKind.GPUS_UNUSED, unused=gpus - used, gpus=gpus)
    if best.fits and request.users and request.users > users:
        yield reason(ReasonKind.USERS_WAIT, wanted=request.users, users=users)
    if best.tensor_parallel_size > 1 and not setup.device.has_link:
        has_pipelines = ENGINES[request.engine].has_pipelines
        ways = (remedy(RemedyKind.COMPARE_PIPELINE),) if has_pipelines else ()
        yield reason(ReasonKind.NO_LINK, *ways)
    if best.fits is Fit.PROBABLY and setup.release.is_trusted:
        yield probably_reason(best)
    elif best.fits is Fit.PROBABLY and request.engine != "vllm":
        yield reason(
            ReasonKind.NOT_MEASURED,
            engine=ENGINES[request.engine].title,
            version=request.engine_version,
            kv_cache_gib=best.tightest.kept_gib[0],
        )
    elif best.fits is Fit.PROBABLY:
        yield reason(ReasonKind.OLD_RELEASE, version=request.engine_version)
    yield from _model_warnings(best)


def _model_warnings(best: Arrangement) -> Iterator[Reason]:
    setup, request = best.setup, best.setup.request
    declared_dtype, dtype = setup.model.dtype, setup.precision.dtype
    if request.dtype is None and dtype != declared_dtype:
        name = setup.device.name
        yield reason(ReasonKind.OTHER_DTYPE, declared=declared_dtype, device=name, dtype=dtype)
    declared, method = setup.model.quantization, setup.precision.quantization.method
    if declared.is_quantized and method != declared.method:
        yield reason(ReasonKind.OTHER_QUANTIZATION, declared=declared.method, method=method)
    vision = setup.model.vision
    if vision is not None and not request.language_model_only:
        kind = ReasonKind.TAKES_IMAGES if vision.is_known else ReasonKind.ENCODER_UNKNOWN
        way = remedy(RemedyKind.LANGUAGE_MODEL_ONLY)
        yield reason(kind, *((way,) if request.engine == "vllm" else ()))
    if setup.request.speculation:
        yield _drafts(best, setup.request.speculation)
    layout = best.tightest.layout
    if layout.state_groups:
        yield reason(
            ReasonKind.STATE_LAYERS,
            layers=sum(layer.kind == "state" for layer in setup.model.layers),
            state_mib=layout.state_blocks * layout.block_bytes / MIB,
            block_tokens=layout.block_tokens,
        )
    if best.state_requests:
        yield _state_slots(best)
    if any(layer.kind == "sliding" for layer in setup.model.layers) and not setup.window_share:
        yield reason(ReasonKind.SLIDING_WINDOWS)


def _state_slots(best: Arrangement) -> Reason:
    requests = best.batch.max_num_seqs
    slot = max(stage.layout.slot_bytes for stage in best.unlike)
    return reason(
        ReasonKind.STATE_SLOTS,
        requests=requests,
        each=SLOTS_PER_REQUEST,
        state_mib=slot / MIB,
        pool_gib=pool_gib(requests, slot),
    )


def _drafts(best: Arrangement, speculation: Speculation) -> Reason:
    setup, split = best.setup, (best.tensor_parallel_size, best.pipeline_parallel_size)
    size = draft_weights_bytes(speculation, setup.model, setup.precision, *split)
    return reason(
        ReasonKind.DRAFTS,
        method=speculation.method,
        tokens=speculation.tokens,
        weights_gib=size / GIB,
        tokens_per_step=speculation.tokens_per_step,
    )
