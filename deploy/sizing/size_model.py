"""Size one model for an engine whose requests share a KV cache: the best way, or why none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deploy.catalog.decoder_sizes import DTYPES
from deploy.catalog.quantization import BY_NAME, Quantization
from deploy.catalog.weight_tensors import count_active_parameters, count_parameters
from deploy.errors import PlanError, Problem
from deploy.sizing import sglang, sglang_models, tensorrt_llm, tensorrt_llm_models, tgi
from deploy.sizing.arrangement import DEFAULT_CONTEXT_TOKENS
from deploy.sizing.check import check_request
from deploy.sizing.choose import (
    Scored,
    candidates,
    choose,
    split_problems,
    split_sizes,
    stages_are_legal,
)
from deploy.sizing.device import Device, weakest
from deploy.sizing.explain import (
    chosen_reason,
    context_reasons,
    memory_reason,
    rejected_reason,
    request_warnings,
    state_blocks_reason,
)
from deploy.sizing.fit import Fit
from deploy.sizing.hardware import hardware_refusals, hardware_warnings
from deploy.sizing.precision import MXFP4_ALIGNMENT, Precision
from deploy.sizing.reasons import Reason, ReasonKind, Remedy, RemedyKind, reason, remedy
from deploy.sizing.release import release_for
from deploy.sizing.request import Rejected, Sizing, SizingRequest
from deploy.sizing.setup import Setup
from deploy.sizing.speculation import speculation_refusals
from deploy.sizing.splits import whole_experts_help
from deploy.sizing.throughput import prefill_tokens_per_second
from deploy.sizing.told import told
from deploy.spec.engine_kinds import ENGINES


def size_model(request: SizingRequest) -> Sizing:
    """Size a model; without ``tensor_parallel_size``, choose the best legal arrangement.

    GPUs of several kinds may be used together, where the smallest decides, or only the larger
    ones: whichever serves more.

    Raises:
        PlanError: if the request contradicts itself.
    """
    check_request(request)
    request = _with_length(request)
    groups = list(_device_groups(request.devices))
    sizings = [_size_group(replace(request, devices=group)) for group in groups]
    best = max(sizings, key=lambda s: (s.supported, s.fits, s.concurrent_users, len(s.gpus)))
    warnings = tuple(_group_warnings(request, best))
    names = tuple(device.name for device in request.devices)
    return replace(best, gpus=names, warnings=(*warnings, *best.warnings))


def _with_length(request: SizingRequest) -> SizingRequest:
    """Where each request has room for the longest: the usual length, unless one is declared."""
    if not ENGINES[request.engine].reserves or request.max_model_len:
        return request
    usual = request.context_tokens or DEFAULT_CONTEXT_TOKENS
    return replace(request, max_model_len=min(usual, request.model.max_position_embeddings))


def make_setup(request: SizingRequest) -> Setup:
    """What all arrangements of a request share."""
    device = weakest(request.devices)
    dtype = _dtype(request, device)
    precision = Precision(dtype, _quantization(request), _mxfp4_alignment(request, device))
    kv_dtype = _kv_dtype(request, device, dtype)
    own = {
        "sglang": sglang.RELEASE,
        "tensorrt_llm": tensorrt_llm.RELEASE,
        "tgi": tgi.RELEASE,
    }
    release = own.get(request.engine) or release_for(request.model, request.engine_version)
    return Setup(request, request.model, precision, device, release, kv_dtype)


def _mxfp4_alignment(request: SizingRequest, device: Device) -> tuple[int, int]:
    if request.engine == "sglang":
        return sglang_models.mxfp4_alignment(device)
    if request.engine == "tensorrt_llm":
        return tensorrt_llm_models.MXFP4_ALIGNMENT
    return MXFP4_ALIGNMENT, 1 if device.is_hopper_or_later else MXFP4_ALIGNMENT


def _kv_dtype(request: SizingRequest, device: Device, dtype: str) -> str:
    if request.kv_cache_dtype != "auto":
        return "fp8"
    if request.engine == "sglang":
        return sglang_models.kv_dtype(request.model, device, dtype)
    return dtype


def _size_group(request: SizingRequest) -> Sizing:
    setup = make_setup(request)
    refusals = tuple(_refusals(setup))
    if refusals:
        return replace(_common(setup), reasons=refusals)
    scored = list(candidates(setup))
    if not scored:
        return replace(_common(setup), reasons=tuple(_no_candidate(setup)))
    return _sizing(choose(scored, len(request.devices), request.users), scored)


def _device_groups(devices: tuple[Device, ...]) -> Iterator[tuple[Device, ...]]:
    """All of them, and without the smallest kinds."""
    ordered = sorted(devices, key=lambda device: (-device.usable_gib, device.name))
    for index, device in enumerate(ordered):
        if index + 1 == len(ordered) or ordered[index + 1].name != device.name:
            yield tuple(ordered[: index + 1])


def _group_warnings(request: SizingRequest, best: Sizing) -> Iterator[Reason]:
    kinds = dict.fromkeys(device.name for device in request.devices)
    if len(kinds) < 2:
        return
    unused = [name for name in kinds if name not in best.gpus]
    if unused:
        yield reason(ReasonKind.KINDS_UNUSED, names=", ".join(unused))
    else:
        yield reason(ReasonKind.KINDS_TOGETHER, names=", ".join(kinds))


def _dtype(request: SizingRequest, device: Device) -> str:
    """The engine's "auto": 16 bits for models published in 32, float16 where bfloat16 is not."""
    if request.dtype is not None:
        return DTYPES[request.dtype]
    dtype = "bfloat16" if request.model.dtype == "float32" else request.model.dtype
    old = (0, 0) < device.compute_capability < (8, 0)
    return "float16" if dtype == "bfloat16" and old else dtype


def _quantization(request: SizingRequest) -> Quantization:
    declared = request.model.quantization
    if request.quantization is None or request.quantization == declared.method:
        return declared
    if request.quantization not in BY_NAME:
        allowed = ", ".join(BY_NAME)
        raise PlanError(Problem("quantization", repr(request.quantization), allowed))
    return BY_NAME[request.quantization]


def _engine_refusals(setup: Setup) -> Iterator[Reason]:
    """What the engine that is asked for does not serve."""
    request, model = setup.request, setup.model
    own = {
        "sglang": sglang_models.refusals,
        "tensorrt_llm": tensorrt_llm_models.refusals,
        "tgi": tgi.refusals,
    }
    if request.engine in own:
        yield from own[request.engine](model, setup.device, setup.precision)
    if request.engine == "sglang" and request.enable_expert_parallel:
        yield from sglang_models.whole_expert_refusals(setup.device, setup.precision)
    stages, layers = request.pipeline_parallel_size or 1, len(model.layers)
    if not stages_are_legal(setup, stages):
        title = ENGINES[request.engine].title
        yield reason(ReasonKind.UNEVEN_STAGES, layers=layers, stages=stages, engine=title)


def _refusals(setup: Setup) -> Iterator[Reason]:
    request = setup.request
    vendors = {device.vendor for device in request.devices}
    if len(vendors) > 1:
        yield reason(ReasonKind.SEVERAL_VENDORS, vendors=" and ".join(sorted(vendors)))
        return
    yield from hardware_refusals(
        setup.device,
        setup.precision,
        request.kv_cache_dtype,
        request.dtype is not None,
        request.engine,
    )
    yield from _engine_refusals(setup)
    yield from speculation_refusals(request.speculation, setup.model)
    if request.enable_expert_parallel and setup.model.moe is None:
        yield reason(ReasonKind.NO_EXPERTS)
    split = (request.tensor_parallel_size or 1) * (request.pipeline_parallel_size or 1)
    size = split * request.data_parallel_size
    if size > len(request.devices):
        way, here = remedy(RemedyKind.SPLIT_LESS), len(request.devices)
        yield reason(ReasonKind.TOO_FEW_GPUS, way, needed=size, gpus=here)
    stages, layers = request.pipeline_parallel_size or 1, len(setup.model.layers)
    if stages > layers:
        yield reason(ReasonKind.TOO_MANY_STAGES, layers=layers, stages=stages)


def _no_candidate(setup: Setup) -> Iterator[Reason]:
    tp, legal = setup.request.tensor_parallel_size or 1, setup.legal_splits
    ways = [remedy(RemedyKind.LEGAL_SPLIT, sizes=", ".join(map(str, legal)))] if legal else []
    ways += _whole_experts(setup, tp)
    problems = split_problems(setup, tp)
    if problems:
        yield reason(ReasonKind.ILLEGAL_SPLIT, *ways, causes=problems)


def _sizing(chosen: Scored, scored: list[Scored]) -> Sizing:
    best = chosen.arrangement
    setup, stage, request = best.setup, best.tightest, best.setup.request
    fits = Fit.NO if any(context_reasons(best)) else best.fits
    users = chosen.served(len(request.devices)) if fits else 0
    load = request.users or users
    per_user = chosen.speed(load / best.replicas) if fits and load else 0.0
    return replace(
        _common(setup),
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


def _at_the_limit(request: SizingRequest, users: int) -> Reason:
    engine = ENGINES[request.engine]
    if engine.reserves:
        length = request.max_model_len
        return reason(ReasonKind.RESERVED, request=users + 1, context_tokens=length)
    return reason(ReasonKind.QUEUE, request=users + 1, when_full=engine.when_full)


def _reasons(chosen: Scored, count: int) -> Iterator[Reason]:
    best = chosen.arrangement
    context = tuple(context_reasons(best))
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
            why = reason(ReasonKind.ILLEGAL_SPLIT, *_whole_experts(setup, tp), causes=problems)
            yield Rejected(tp, 1, why)


def _whole_experts(setup: Setup, tp: int) -> Iterator[Remedy]:
    """A way to share each layer out over so many GPUs, where slices of experts forbid it alone."""
    engine, scheme = setup.request.engine, setup.precision.quantization
    is_whole = setup.request.enable_expert_parallel
    if not is_whole and whole_experts_help(engine, setup.model, scheme, tp):
        yield remedy(RemedyKind.WHOLE_EXPERTS)


def _common(setup: Setup) -> Sizing:
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
