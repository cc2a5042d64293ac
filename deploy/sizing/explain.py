"""Sizing in words: reasons with numbers and a way out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deploy.catalog.quantization import BY_NAME
from deploy.sizing.arrangement import Arrangement, arrange
from deploy.sizing.choose import Scored
from deploy.sizing.parallelism import legal_tensor_parallel_sizes
from deploy.sizing.precision import hardware_refusals
from deploy.units import GIB


def memory_reason(best: Arrangement) -> str:
    """Why it does not fit, and what would."""
    stage, setup = best.tightest, best.setup
    wanted = best.wanted_context
    blocks = stage.layout.request_blocks(wanted)
    needed = blocks * stage.layout.block_bytes / GIB
    shortage = (
        f"needs {stage.weights_gib:.1f} GiB of weights, {stage.overhead.total_gib:.1f} GiB of"
        f" overhead and {needed:.1f} GiB of KV cache for {wanted} tokens on each GPU;"
        f" {setup.device.name} leaves {setup.budget_gib:.1f} GiB"
        f" ({setup.device.usable_gib:.1f} x {setup.request.gpu_memory_utilization:g})"
    )
    ways = ", or ".join(_ways_out(best))
    return f"{shortage}: {ways}" if ways else f"{shortage}: take larger GPUs or a smaller model"


def _ways_out(best: Arrangement) -> Iterator[str]:
    if best.longest_context >= 2048:
        yield f"use --max-model-len {best.longest_context}"
    yield from _smaller_weights(best)
    yield from _more_gpus(best)
    if best.setup.request.gpu_memory_utilization < 0.9:
        yield "raise --gpu-memory-utilization"


def _smaller_weights(best: Arrangement) -> Iterator[str]:
    setup = best.setup
    if setup.precision.quantization.is_quantized or setup.request.weights_gib is not None:
        return
    for method in ("fp8", "awq"):
        precision = replace(setup.precision, quantization=BY_NAME[method])
        if any(hardware_refusals(setup.device, precision, "auto", False)):
            continue
        other = replace(setup, precision=precision)
        if arrange(other, best.tensor_parallel_size, best.pipeline_parallel_size).fits:
            yield f"use --quantization {method}"
            return


def _more_gpus(best: Arrangement) -> Iterator[str]:
    setup, here = best.setup, len(best.setup.request.devices)
    for tp in legal_tensor_parallel_sizes(setup.model, setup.precision.quantization):
        if tp > here and arrange(setup, tp, 1).fits:
            yield f"take {tp}x {setup.device.name}"
            return


def context_reason(best: Arrangement) -> str:
    """Why the context that was asked for cannot be; empty if it can."""
    request, limit = best.setup.request, best.setup.model.max_position_embeddings
    if (request.max_model_len or 0) > limit:
        return (
            f"--max-model-len {request.max_model_len}: the model was made for {limit} tokens;"
            f" use --max-model-len {limit} or less"
        )
    longest = request.max_model_len or limit
    if (request.context_tokens or 0) > longest:
        raise_it = ", or raise --max-model-len" if longest < limit else ""
        return (
            f"--context {request.context_tokens}: requests have at most {longest} tokens here;"
            f" lower it{raise_it}"
        )
    return ""


def chosen_reason(best: Arrangement) -> str:
    """Why this arrangement."""
    tp, pp, replicas = best.tensor_parallel_size, best.pipeline_parallel_size, best.replicas
    parts = [f"tensor_parallel_size {tp}"]
    if pp > 1:
        parts.append(f"pipeline_parallel_size {pp}")
    if replicas > 1:
        parts.append(f"{replicas} replicas")
    return f"{', '.join(parts)}: answers the most users at once; of equals, the fastest"


def rejected_reason(other: Scored, best: Scored) -> str:
    """Why not that one."""
    split, gpus = other.arrangement, len(other.arrangement.setup.request.devices)
    stage = split.tightest
    if not split.fits:
        return (
            f"does not fit: {stage.weights_gib:.1f} GiB of weights and"
            f" {stage.overhead.total_gib:.1f} GiB of overhead in"
            f" {split.setup.budget_gib:.1f} GiB per GPU"
        )
    served, best_served = other.served(gpus), best.served(gpus)
    if served < best_served:
        return f"answers {served} users at once instead of {best_served}"
    reading, best_reading = other.comfortable * (gpus // other.gpus), best.comfortable
    best_reading *= gpus // best.gpus
    if not other.is_preferred:
        return (
            f"answers {served} users at once, {reading} at reading speed (10 tokens/s;"
            f" {best_reading} here): a pipeline answers each of them more slowly"
        )
    return "no more users at once, and no faster"


def request_warnings(best: Arrangement, users: int) -> Iterator[str]:
    """What works otherwise than the operator may think."""
    setup, request = best.setup, best.setup.request
    used = best.tensor_parallel_size * best.pipeline_parallel_size * best.replicas
    if used < len(request.devices):
        yield f"{len(request.devices) - used} of {len(request.devices)} GPUs stay unused"
    if best.fits and request.users and request.users > users:
        yield f"{request.users} users at once: {users} are answered, the others wait in the queue"
    if best.tensor_parallel_size > 1 and not setup.device.has_link:
        yield "no NVLink: tensor parallelism goes over PCIe; compare --pipeline-parallel-size"
    yield from _model_warnings(best)


def _model_warnings(best: Arrangement) -> Iterator[str]:
    setup, request = best.setup, best.setup.request
    declared_dtype, dtype = setup.model.dtype, setup.precision.dtype
    if request.dtype is None and dtype != declared_dtype:
        yield f"config.json says {declared_dtype}: {setup.device.name} uses {dtype}"
    declared = setup.model.quantization
    if declared.is_quantized and setup.precision.quantization.method != declared.method:
        yield f"config.json says {declared.method}, sized as {setup.precision.quantization.method}"
    if setup.model.is_multimodal:
        yield "it takes images too: their encoder's memory is estimated, not modelled"
    if any(layer.kind == "sliding" for layer in setup.model.layers):
        yield "sliding windows: kv_cache_tokens counts every layer in full, requests take less"


def limit_text(best: Arrangement, users: int) -> str:
    """What happens when more is asked than fits."""
    if not best.fits:
        return ""
    return (
        f"Request {users + 1} waits in the queue until one ends. When running requests outgrow"
        " the KV cache, vLLM preempts the latest one and computes it again later."
    )
