"""Size one model for an engine whose requests share a KV cache: the best way, or why none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deploy.errors import every
from deploy.sizing import sglang_models, tensorrt_llm_models, tgi
from deploy.sizing.answer import sizing_of, unsplit, whole_experts
from deploy.sizing.arrangement import DEFAULT_CONTEXT_TOKENS
from deploy.sizing.check import check_request
from deploy.sizing.choose import candidates, choose, split_problems, stages_are_legal
from deploy.sizing.device import Device
from deploy.sizing.hardware import hardware_refusals
from deploy.sizing.reasons import Reason, ReasonKind, RemedyKind, reason, remedy
from deploy.sizing.request import Sizing, SizingRequest
from deploy.sizing.setup import Setup, make_setup
from deploy.sizing.speculation import speculation_refusals
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


def _size_group(request: SizingRequest) -> Sizing:
    setup = make_setup(request)
    refusals = tuple(_refusals(setup))
    if refusals:
        return replace(unsplit(setup), reasons=refusals)
    scored = list(candidates(setup))
    if not scored:
        return replace(unsplit(setup), reasons=tuple(_no_candidate(setup)))
    return sizing_of(choose(scored, len(request.devices), request.users), scored)


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
        yield reason(ReasonKind.SEVERAL_VENDORS, vendors=every(sorted(vendors)))
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
    ways += whole_experts(setup, tp)
    problems = split_problems(setup, tp)
    if problems:
        yield reason(ReasonKind.ILLEGAL_SPLIT, *ways, causes=problems)
