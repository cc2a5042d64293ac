"""What an engine is told of its memory and kernels, where that is not what was asked for."""

from __future__ import annotations

from typing import Any

from deploy.sizing import sglang, sglang_models, tensorrt_llm, tensorrt_llm_models
from deploy.sizing.arrangement import Arrangement
from deploy.sizing.sglang_states import slots_of


def told(best: Arrangement) -> dict[str, Any]:
    """What an engine is told of its memory, where that is not what was asked for."""
    match best.setup.request.engine:
        case "sglang":
            return _told_sglang(best)
        case "tensorrt_llm":
            return _told_tensorrt_llm(best)
    return {}


def _told_sglang(best: Arrangement) -> dict[str, Any]:
    """What SGLang is told of its memory."""
    stage = best.tightest
    static = stage.weights_gib + stage.pools_gib + stage.kept_gib[0]
    share = sglang.mem_fraction_static(best.setup.budget_gib, static, stage.overhead)
    requests = best.batch.max_num_seqs
    graphed = sglang.graphed_requests(best.setup.device, best.tensor_parallel_size, requests)
    backend = sglang_models.fp4_gemm_backend(best.setup.device, best.setup.precision)
    return {
        "mem_fraction_static": share,
        "graphed_requests": graphed,
        **({"fp4_gemm_backend": backend} if backend else {}),
        **({"max_mamba_cache_size": slots_of(requests)} if best.state_requests else {}),
    }


def _told_tensorrt_llm(best: Arrangement) -> dict[str, Any]:
    """What TensorRT-LLM is told of its memory, by the stage that has the most to spare."""
    usable = best.setup.device.usable_gib
    shares = (
        tensorrt_llm.free_gpu_memory_fraction(
            usable, stage.weights_gib + stage.overhead.total_gib, stage.kept_gib[0]
        )
        for stage in best.unlike
    )
    told = tensorrt_llm.max_tokens(best.kv_cache_tokens)
    setup = best.setup
    backend = tensorrt_llm_models.moe_backend(setup.model, setup.device, setup.precision)
    return {
        "free_gpu_memory_fraction": max(shares),
        "max_tokens": told,
        **({"moe_backend": backend} if backend else {}),
    }
