"""Size one model for vLLM: the best arrangement on given GPUs, or why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deploy.catalog.quantization import BY_NAME, Quantization
from deploy.catalog.weight_tensors import count_active_parameters, count_parameters
from deploy.errors import PlanError, Problem
from deploy.plan.sizing.arrangement import Arrangement, Setup, arrange
from deploy.plan.sizing.check import check_request
from deploy.plan.sizing.device import weakest
from deploy.plan.sizing.explain import (
    chosen_reason,
    context_reason,
    limit_text,
    memory_reason,
    rejected_reason,
    request_warnings,
)
from deploy.plan.sizing.kv_cache import BLOCK_TOKENS
from deploy.plan.sizing.parallelism import legal_tensor_parallel_sizes, tensor_parallel_problems
from deploy.plan.sizing.precision import Precision, hardware_refusals, hardware_warnings
from deploy.plan.sizing.release import find_release
from deploy.plan.sizing.request import Rejected, Sizing, SizingRequest
from deploy.plan.sizing.throughput import prefill_tokens_per_second, tokens_per_second_per_user


def size_model(request: SizingRequest) -> Sizing:
    """Size a model; without ``tensor_parallel_size``, choose the best legal arrangement.

    Raises:
        PlanError: if the request contradicts itself.
    """
    check_request(request)
    setup = make_setup(request)
    refusals = tuple(_refusals(setup))
    if refusals:
        return _unsupported(setup, refusals)
    arrangements = [arrange(setup, tp, pp) for tp, pp in _candidates(setup)]
    if not arrangements:
        return _unsupported(setup, tuple(_no_candidate(setup)))
    best = max(arrangements, key=_merit)
    return _sizing(best, arrangements)


def make_setup(request: SizingRequest) -> Setup:
    """What all arrangements of a request share."""
    device = weakest(request.devices)
    dtype = request.dtype or request.model.dtype
    if (
        request.dtype is None
        and dtype == "bfloat16"
        and (0, 0) < device.compute_capability < (8, 0)
    ):
        dtype = "float16"
    marlin = device.compute_capability < (9, 0) or device.compute_capability >= (12, 0)
    precision = Precision(dtype, _quantization(request), marlin)
    kv_dtype = dtype if request.kv_cache_dtype == "auto" else "fp8"
    release = find_release(request.engine_version)
    return Setup(request, request.model, precision, device, release, kv_dtype)


def _quantization(request: SizingRequest) -> Quantization:
    declared = request.model.quantization
    if request.quantization is None or request.quantization == declared.method:
        return declared
    if request.quantization not in BY_NAME:
        allowed = ", ".join(BY_NAME)
        raise PlanError(Problem("quantization", repr(request.quantization), allowed))
    return BY_NAME[request.quantization]


def _refusals(setup: Setup) -> Iterator[str]:
    request = setup.request
    vendors = {device.vendor for device in request.devices}
    if len(vendors) > 1:
        yield f"GPUs of {' and '.join(sorted(vendors))} do not serve one engine together"
        return
    yield from hardware_refusals(
        setup.device, setup.precision, request.kv_cache_dtype, request.dtype is not None
    )
    size = (request.tensor_parallel_size or 1) * (request.pipeline_parallel_size or 1)
    if size > len(request.devices):
        yield f"needs {size} GPUs, there are {len(request.devices)}: add GPUs, or split less"
    stages = request.pipeline_parallel_size or 1
    if stages > len(setup.model.layers):
        yield f"{len(setup.model.layers)} layers cannot make {stages} pipeline stages"


def _candidates(setup: Setup) -> Iterator[tuple[int, int]]:
    request, count = setup.request, len(setup.request.devices)
    tps = [request.tensor_parallel_size] if request.tensor_parallel_size else _sizes(count)
    for tp in tps:
        if any(tensor_parallel_problems(setup.model, setup.precision.quantization, tp)):
            continue
        if request.pipeline_parallel_size:
            stages: list[int] = [request.pipeline_parallel_size]
        elif request.tensor_parallel_size:
            stages = [1]
        else:
            stages = _sizes(min(count // tp, len(setup.model.layers)))
        yield from ((tp, pp) for pp in stages if tp * pp <= count)


def _sizes(largest: int) -> list[int]:
    """Every size up to 16, then powers of two: nobody splits a model 37 ways."""
    return [n for n in range(1, largest + 1) if n <= 16 or n & (n - 1) == 0]


def _no_candidate(setup: Setup) -> Iterator[str]:
    tp = setup.request.tensor_parallel_size or 1
    legal = legal_tensor_parallel_sizes(setup.model, setup.precision.quantization)
    sizes = ", ".join(map(str, legal)) or "none"
    for problem in tensor_parallel_problems(setup.model, setup.precision.quantization, tp):
        yield f"--tensor-parallel-size {tp}: {problem}; legal: {sizes}"


def _merit(arrangement: Arrangement) -> tuple[bool, int, float, float, int]:
    """More users first, then speed; ties go to the simplest split, then to more context."""
    users = served(arrangement)
    wanted = min(users, arrangement.setup.request.users or users)
    size = arrangement.tensor_parallel_size * arrangement.pipeline_parallel_size
    speed = round(_per_user(arrangement, max(wanted, 1)), 3)
    return arrangement.fits, wanted, speed, arrangement.tightest.kv_cache_gib, -size


def served(arrangement: Arrangement) -> int:
    """Requests that all replicas answer at once."""
    return arrangement.slots(arrangement.context_tokens) * arrangement.replicas


def _per_user(arrangement: Arrangement, users: int) -> float:
    slots = arrangement.slots(arrangement.context_tokens)
    each = users / max(arrangement.replicas, 1)
    return tokens_per_second_per_user(
        arrangement.engine, max(each, 1.0), slots, arrangement.context_tokens
    )


def _sizing(best: Arrangement, arrangements: list[Arrangement]) -> Sizing:
    setup, stage = best.setup, best.tightest
    request, users = setup.request, served(best)
    load = request.users or users
    per_user = _per_user(best, load) if best.fits and load else 0.0
    return replace(
        _common(setup),
        supported=True,
        fits=best.fits and not context_reason(best),
        reasons=tuple(_reasons(best, len(arrangements))),
        warnings=tuple(_warnings(best, users)),
        rejected=tuple(_rejected(best, arrangements)),
        replicas=best.replicas,
        tensor_parallel_size=best.tensor_parallel_size,
        pipeline_parallel_size=best.pipeline_parallel_size,
        usable_gib_per_gpu=setup.device.usable_gib,
        weights_gib_per_gpu=stage.weights_gib,
        overhead=stage.overhead,
        kv_cache_gib_per_gpu=max(stage.kv_cache_gib, 0.0),
        kv_cache_tokens=stage.tokens,
        kv_cache_bytes_per_token_per_gpu=(
            stage.layout.block_bytes * stage.layout.groups / BLOCK_TOKENS
        ),
        max_model_len=best.max_model_len,
        max_model_len_that_fits=best.longest_context,
        context_tokens=best.context_tokens,
        concurrent_users=users,
        max_num_seqs=setup.batch.max_num_seqs,
        max_num_batched_tokens=setup.batch.max_num_batched_tokens,
        tokens_per_second_per_user=per_user,
        tokens_per_second=per_user * load,
        prefill_tokens_per_second=prefill_tokens_per_second(best.engine) * best.replicas,
        at_the_limit=limit_text(best, users),
    )


def _reasons(best: Arrangement, count: int) -> Iterator[str]:
    if not best.fits:
        yield memory_reason(best)
    elif context_reason(best):
        yield context_reason(best)
    elif count > 1:
        yield chosen_reason(best)


def _warnings(best: Arrangement, users: int) -> Iterator[str]:
    setup = best.setup
    yield from hardware_warnings(setup.device, setup.precision, setup.request.kv_cache_dtype)
    yield from request_warnings(best, users)


def _rejected(best: Arrangement, arrangements: list[Arrangement]) -> Iterator[Rejected]:
    setup = best.setup
    for other in arrangements:
        if other is not best:
            reason = rejected_reason(other, best, served(other), served(best))
            yield Rejected(other.tensor_parallel_size, other.pipeline_parallel_size, reason)
    if setup.request.tensor_parallel_size:
        return
    for tp in _sizes(len(setup.request.devices)):
        problems = tensor_parallel_problems(setup.model, setup.precision.quantization, tp)
        reason = "; ".join(problems)
        if reason:
            yield Rejected(tp, 1, reason)


def _unsupported(setup: Setup, reasons: tuple[str, ...]) -> Sizing:
    return replace(_common(setup), reasons=reasons)


def _common(setup: Setup) -> Sizing:
    """What is known before any arrangement is."""
    request, scheme = setup.request, setup.precision.quantization
    return Sizing(
        supported=False,
        fits=False,
        reasons=(),
        model=request.name,
        engine="vllm",
        engine_version=request.engine_version,
        gpus=tuple(device.name for device in request.devices),
        parameters_billion=count_parameters(setup.model) / 1e9,
        active_parameters_billion=count_active_parameters(setup.model) / 1e9,
        dtype=setup.precision.dtype,
        quantization=scheme.method,
        kv_cache_dtype=setup.kv_dtype,
        gpu_memory_utilization=request.gpu_memory_utilization,
        legal_tensor_parallel_sizes=legal_tensor_parallel_sizes(setup.model, scheme),
        users=request.users,
    )
