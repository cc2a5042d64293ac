"""From where replicas lie to everything that their containers need to know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from deploy.errors import PlanError, Problem
from deploy.model_files import ModelFile, Sources, draft_of
from deploy.plan.memory import container_memory_bytes, cpu_memory_bytes, memory_next_to_gpus
from deploy.plan.on_cpu import cpu_max_model_len, gguf_bytes, gguf_held_bytes
from deploy.plan.placement import Claim, Gpus, Seat
from deploy.plan.replica_plan import (
    CpuPlan,
    LlamaCppPlan,
    MemoryPlan,
    ReplicaPlan,
    SglangPlan,
    SpeculativePlan,
    TensorRtLlmPlan,
    TgiPlan,
    WeightsPlan,
)
from deploy.plan.vllm_on_cpu import size_on_cpu
from deploy.plan.weights import ollama_weights, safetensors_weights, told_quantization
from deploy.sizing import Sizing
from deploy.sizing.tgi import cuda_memory_fraction
from deploy.spec import SpeculativeSpec


def gpu_replica(seat: Seat, index: int, host: Gpus, sources: Sources) -> ReplicaPlan:
    """A replica on GPUs."""
    claim, sizing = seat.claim, seat.sizing
    file = _file(claim, sources)
    return ReplicaPlan(
        host=seat.host,
        other_hosts=seat.other_hosts,
        index=index,
        model=claim.model.name,
        served_model_name=claim.name,
        file=file,
        draft_file=_draft_file(claim, sources),
        weights=_weights(claim, file),
        engine=claim.engine,
        max_model_len=sizing.max_model_len,
        max_num_seqs=sizing.max_num_seqs,
        memory_limit_bytes=claim.engine.memory_limit or _memory_limit(seat, host, sources),
        extra_args=(*claim.engine.extra_args, *claim.model.extra_args),
        extra_weights=_extra_weights(claim, sources),
        quantization=_told_quantization(claim),
        gpus=seat.gpus,
        gpu_ids=tuple(host.ids[gpu] for gpu in seat.gpus),
        gpu_vendor=host.devices[seat.gpus[0]].vendor,
        gpu_gfx=host.devices[seat.gpus[0]].gfx,
        tensor_parallel_size=sizing.tensor_parallel_size,
        pipeline_parallel_size=sizing.pipeline_parallel_size,
        gpu_memory_utilization=seat.share,
        memory=MemoryPlan(
            weights_gib=sizing.weights_gib_per_gpu,
            overhead_gib=sizing.overhead_gib_per_gpu,
            kv_cache_gib=sizing.kv_cache_gib_per_gpu,
            pinned_kv_cache_bytes=sizing.pinned_kv_cache_bytes_per_gpu,
        ),
        kv_cache_tokens=sizing.kv_cache_tokens,
        concurrent_users=sizing.concurrent_users,
        speculative=_speculative(claim, sources),
        llama_cpp=_llama_cpp(sizing) if claim.engine.kind == "llama_cpp" else None,
        sglang=_sglang(sizing) if claim.engine.kind == "sglang" else None,
        tensorrt_llm=_tensorrt_llm(sizing) if claim.engine.kind == "tensorrt_llm" else None,
        tgi=_tgi(claim, sizing) if claim.engine.kind == "tgi" else None,
        **_features(claim),
    )


def _llama_cpp(sizing: Sizing) -> LlamaCppPlan:
    return LlamaCppPlan(flash_attention=sizing.details["flash_attention"])


def _sglang(sizing: Sizing) -> SglangPlan:
    return SglangPlan(
        mem_fraction_static=sizing.details["mem_fraction_static"],
        chunked_prefill_size=sizing.max_num_batched_tokens,
        graphed_requests=sizing.details["graphed_requests"],
        fp4_gemm_backend=sizing.details.get("fp4_gemm_backend", ""),
        max_mamba_cache_size=sizing.details.get("max_mamba_cache_size", 0),
    )


def _tensorrt_llm(sizing: Sizing) -> TensorRtLlmPlan:
    return TensorRtLlmPlan(
        free_gpu_memory_fraction=sizing.details["free_gpu_memory_fraction"],
        max_tokens=sizing.details["max_tokens"],
        max_num_tokens=sizing.max_num_batched_tokens,
        moe_backend=sizing.details.get("moe_backend", ""),
    )


def _tgi(claim: Claim, sizing: Sizing) -> TgiPlan:
    return TgiPlan(
        cuda_memory_fraction=cuda_memory_fraction(claim.utilization),
        max_batch_prefill_tokens=sizing.max_num_batched_tokens,
        dtype=sizing.dtype,
        quantization=sizing.quantization,
    )


def vllm_cpu_replica(claim: Claim, hosts: Sequence[str], index: int) -> ReplicaPlan:
    """A replica of vLLM on CPUs."""
    sizing = size_on_cpu(claim)
    return ReplicaPlan(
        host=hosts[0],
        other_hosts=tuple(hosts[1:]),
        index=index,
        model=claim.model.name,
        served_model_name=claim.name,
        weights=_weights(claim, None),
        engine=claim.engine,
        max_model_len=sizing.max_model_len,
        max_num_seqs=sizing.max_num_seqs,
        memory_limit_bytes=claim.engine.memory_limit or sizing.memory_bytes,
        extra_args=(*claim.engine.extra_args, *claim.model.extra_args),
        tensor_parallel_size=sizing.tensor_parallel_size,
        pipeline_parallel_size=sizing.pipeline_parallel_size,
        kv_cache_tokens=sizing.kv_cache_tokens,
        concurrent_users=sizing.concurrent_users,
        cpu=CpuPlan(
            kv_cache_space_gib=sizing.kv_cache_space_gib,
            block_size=sizing.block_size,
            omp_threads_bind=sizing.omp_threads_bind,
        ),
        **_features(claim),
    )


def cpu_replica(claim: Claim, hosts: Sequence[str], index: int, sources: Sources) -> ReplicaPlan:
    """A replica on CPUs."""
    if claim.engine.kind == "vllm":
        return vllm_cpu_replica(claim, hosts, index)
    (host,) = hosts
    file = _file(claim, sources)
    slots = claim.slots or 1
    return ReplicaPlan(
        host=host,
        index=index,
        model=claim.model.name,
        served_model_name=claim.name,
        file=file,
        draft_file=_draft_file(claim, sources),
        weights=_weights(claim, file),
        engine=claim.engine,
        max_model_len=cpu_max_model_len(claim),
        max_num_seqs=slots,
        memory_limit_bytes=claim.engine.memory_limit
        or cpu_memory_bytes(_files_bytes(claim, sources), gguf_held_bytes(claim)),
        extra_args=(*claim.engine.extra_args, *claim.model.extra_args),
        extra_weights=claim.model.extra_weights,
        kv_cache_tokens=cpu_max_model_len(claim) * slots,
        concurrent_users=slots,
        speculative=_speculative(claim, sources),
    )


def with_one_length(replicas: Iterable[ReplicaPlan]) -> Iterator[ReplicaPlan]:
    """Every replica of a model takes the same requests: the router sends any of them to any."""
    replicas = list(replicas)
    longest: dict[str, int] = {}
    for replica in replicas:
        known = longest.get(replica.served_model_name, replica.max_model_len)
        longest[replica.served_model_name] = min(known, replica.max_model_len)
    for replica in replicas:
        length = longest[replica.served_model_name]
        yield replica.model_copy(update={"max_model_len": length})


def _features(claim: Claim) -> dict[str, Any]:
    """What else the engine does: the model's own settings, else the catalogue's."""
    if claim.engine.traits.weights != "safetensors":
        return {}
    model, entry = claim.model, claim.entry
    parsers = {
        "tool_call_parser": model.tool_call_parser or (entry and entry.tool_call_parser),
        "reasoning_parser": model.reasoning_parser or (entry and entry.reasoning_parser),
    }
    chats = "chat" in claim.roles
    return {
        **{
            name: None if parser == "none" or not chats else parser
            for name, parser in parsers.items()
        },
        "embeds": "embedding" in claim.roles,
        "reranks": "rerank" in claim.roles,
        "language_model_only": model.language_model_only,
        "shows_prompts": claim.declared is not None and claim.declared.architecture.grows,
        "lora_adapters": model.lora_adapters,
        "max_lora_rank": model.max_lora_rank,
    }


def _speculative(claim: Claim, sources: Sources) -> SpeculativePlan | None:
    said = claim.model.speculative
    if said is None:
        return None
    fetches = claim.engine.traits.fetches
    repository, revision = _draft_weights(said, sources) if fetches else (None, None)
    return SpeculativePlan(
        method=said.method,
        num_speculative_tokens=said.num_speculative_tokens,
        model=repository,
        revision=revision,
    )


def _draft_weights(said: SpeculativeSpec, sources: Sources) -> tuple[str | None, str | None]:
    """Repository and commit of a draft: what is declared, else the catalogue's."""
    entry = sources.catalog.models.get(said.draft or "")
    name = said.weights or (entry.huggingface if entry else None)
    if said.draft and not name:
        allowed = "a repository such as 'org/name'"
        raise PlanError(Problem("speculative.weights", "not set", allowed, "declare weights"))
    repository, _, revision = (name or "").partition("@")
    return repository or None, revision or None


def _extra_weights(claim: Claim, sources: Sources) -> tuple[str, ...]:
    """Other repositories that must be on the host: those declared, and the draft's."""
    said = claim.model.speculative
    fetches = said is not None and claim.engine.traits.fetches
    repository, revision = _draft_weights(said, sources) if said and fetches else (None, None)
    if repository is None:
        return claim.model.extra_weights
    return (*claim.model.extra_weights, f"{repository}@{revision}" if revision else repository)


def _file(claim: Claim, sources: Sources) -> ModelFile | None:
    return sources.files.get(claim.model.name) if claim.engine.traits.weights == "gguf" else None


def _draft_file(claim: Claim, sources: Sources) -> ModelFile | None:
    return sources.files.get(draft_of(claim.model.name))


def _weights(claim: Claim, file: ModelFile | None) -> WeightsPlan:
    if file is not None or not claim.engine.traits.fetches:
        return WeightsPlan()
    named, traits = (claim.path, claim.model, claim.entry, claim.quantization), claim.engine.traits
    if traits.weights == "safetensors":
        return safetensors_weights(*named, traits)
    return ollama_weights(*named)


def _told_quantization(claim: Claim) -> str | None:
    return told_quantization(claim.model, claim.entry, claim.quantization, claim.engine.traits)


def _memory_limit(seat: Seat, host: Gpus, sources: Sources) -> int:
    is_gguf = seat.claim.engine.traits.weights == "gguf"
    files = container_memory_bytes(_files_bytes(seat.claim, sources)) if is_gguf else 0
    return memory_next_to_gpus(seat, host.devices[seat.gpus[0]].vendor, files)


def _files_bytes(claim: Claim, sources: Sources) -> int:
    """Size of the model's file and the draft's."""
    draft = _draft_file(claim, sources)
    return gguf_bytes(claim, _file(claim, sources)) + (draft.size_bytes if draft else 0)
