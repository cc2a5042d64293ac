"""A sizing as plain data, with the keys that docs/sizing.md promises."""

from __future__ import annotations

from typing import Any

from deploy.sizing.reasons_text import reason_text
from deploy.sizing.request import Rejected, Sizing
from deploy.sizing.throughput import DENSE_ERROR, ERROR

ESTIMATE = (
    f"estimate; one user of a dense model +- {DENSE_ERROR:.0%}, else +- {ERROR:.0%}: docs/sizing.md"
)


def sizing_to_json(sizing: Sizing) -> dict[str, Any]:
    """Every figure of a sizing; memory in GiB to two decimals."""
    return {
        "supported": sizing.supported,
        "fits": sizing.fits.value,
        "reasons": [reason_text(reason) for reason in sizing.reasons],
        "warnings": [reason_text(warning) for warning in sizing.warnings],
        "model": sizing.model,
        "engine": sizing.engine,
        "engine_version": sizing.engine_version,
        "parameters_billion": round(sizing.parameters_billion, 3),
        "active_parameters_billion": round(sizing.active_parameters_billion, 3),
        "dtype": sizing.dtype,
        "quantization": sizing.quantization,
        "kv_cache_dtype": sizing.kv_cache_dtype,
        "gpus": list(sizing.gpus),
        "replicas": sizing.replicas,
        "tensor_parallel_size": sizing.tensor_parallel_size,
        "pipeline_parallel_size": sizing.pipeline_parallel_size,
        "data_parallel_size": sizing.data_parallel_size,
        "legal_tensor_parallel_sizes": list(sizing.legal_tensor_parallel_sizes),
        "rejected": [_rejected(rejected) for rejected in sizing.rejected],
        "gpu_memory_utilization": sizing.gpu_memory_utilization,
        **_memory(sizing),
        "max_model_len": sizing.max_model_len,
        "max_model_len_that_fits": sizing.max_model_len_that_fits,
        "max_num_seqs": sizing.max_num_seqs,
        "max_num_batched_tokens": sizing.max_num_batched_tokens,
        "context_tokens": sizing.context_tokens,
        "users": sizing.users,
        "concurrent_users": sizing.concurrent_users,
        "at_the_limit": reason_text(sizing.at_the_limit) if sizing.at_the_limit else "",
        **speeds(sizing),
        "prefill_tokens_per_second": round(sizing.prefill_tokens_per_second),
        "throughput": ESTIMATE,
        "details": sizing.details,
        "reason_data": [reason.to_json() for reason in sizing.reasons],
        "warning_data": [warning.to_json() for warning in sizing.warnings],
    }


def speeds(sizing: Sizing) -> dict[str, float | None]:
    """Tokens per second that each gets, and all together; null of what writes nothing."""
    each, together = sizing.tokens_per_second_per_user, sizing.tokens_per_second
    return {
        "tokens_per_second_per_user": round(each, 2) if sizing.writes else None,
        "tokens_per_second": round(together, 1) if sizing.writes else None,
    }


def _rejected(rejected: Rejected) -> dict[str, Any]:
    return {
        "tensor_parallel_size": rejected.tensor_parallel_size,
        "pipeline_parallel_size": rejected.pipeline_parallel_size,
        "reason": reason_text(rejected.reason),
    }


def _memory(sizing: Sizing) -> dict[str, Any]:
    overhead = sizing.overhead
    return {
        "usable_gib_per_gpu": round(sizing.usable_gib_per_gpu, 2),
        "weights_gib_per_gpu": round(sizing.weights_gib_per_gpu, 2),
        "overhead_gib_per_gpu": round(overhead.total_gib, 2),
        "overhead": {
            "activation_gib": round(overhead.activation_gib, 2),
            "cuda_graphs_gib": round(overhead.cuda_graphs_gib, 2),
            "non_torch_gib": round(overhead.non_torch_gib, 2),
            "buffers_gib": round(overhead.buffers_gib, 2),
            "outside_gib": round(overhead.outside_gib, 2),
            "uncertainty_gib": round(overhead.uncertainty_gib, 2),
        },
        "kv_cache_gib_per_gpu": round(sizing.kv_cache_gib_per_gpu, 2),
        "least_kv_cache_gib_per_gpu": round(sizing.least_kv_cache_gib_per_gpu, 2),
        "pinned_kv_cache_bytes_per_gpu": sizing.pinned_kv_cache_bytes_per_gpu,
        "kv_cache_tokens": sizing.kv_cache_tokens,
        "kv_cache_bytes_per_token_per_gpu": round(sizing.kv_cache_bytes_per_token_per_gpu, 1),
    }
