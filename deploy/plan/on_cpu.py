"""Replicas on CPUs: llama.cpp, and Ollama where no host has GPUs."""

from __future__ import annotations

from deploy.catalog.weight_tensors import count_parameters
from deploy.model_files import ModelFile
from deploy.plan.placement import Claim
from deploy.sizing import SizingRequest
from deploy.sizing.gguf import DEFAULT_QUANTIZATION
from deploy.sizing.gguf_memory import BITS_PER_WEIGHT, GgufMemory
from deploy.spec import DeploymentSpec
from deploy.units import GIB

DEFAULT_MAX_MODEL_LEN = 8192


def cpu_hosts(spec: DeploymentSpec, claim: Claim, before: int) -> list[tuple[str, ...]]:
    """The hosts of each replica: hosts without GPUs in turn, where there are any.

    Args:
        spec: the deployment.
        claim: the model.
        before: replicas that are placed already.
    """
    names = [host.name for host in spec.hosts if not host.gpus]
    names = names or [host.name for host in spec.hosts]
    count, nodes = claim.model.replicas or 1, claim.engine.nnodes
    firsts = (before + number * nodes for number in range(count))
    return [tuple(names[(at + rank) % len(names)] for rank in range(nodes)) for at in firsts]


def cpu_max_model_len(claim: Claim) -> int:
    """Context of one request: declared, or the model's own; Ollama keeps it for every slot."""
    if claim.max_model_len or claim.engine.kind == "ollama":
        return claim.max_model_len or claim.context_tokens
    return claim.entry.max_model_len if claim.entry else DEFAULT_MAX_MODEL_LEN


def gguf_bytes(claim: Claim, file: ModelFile | None) -> int:
    """Size of the weights: the file's, the catalogue's, or what follows from the parameters."""
    if file is not None:
        return file.size_bytes
    declared = claim.declared
    assert declared is not None  # noqa: S101 - without a file, sizing knows the model
    known_gib = claim.model.weights_gib or declared.weights_gib
    if known_gib:
        return int(known_gib * GIB)
    bits = BITS_PER_WEIGHT.get(claim.quantization or DEFAULT_QUANTIZATION, 8.5)
    return int(count_parameters(declared.architecture) * bits / 8)


def gguf_held_bytes(claim: Claim) -> int:
    """KV cache and buffers of all slots, in bytes; 0 of a model that nothing is known of."""
    if claim.declared is None:
        return 0
    engine = claim.engine
    request = SizingRequest(
        model=claim.declared.architecture,
        devices=(),
        engine=engine.kind,
        kv_cache_dtype=engine.kv_cache_dtype,
        speculation=claim.speculation,
        flash_attention=engine.flash_attn != "off",
    )
    memory = GgufMemory(request, claim.quantization or DEFAULT_QUANTIZATION, claim.slots or 1)
    context = cpu_max_model_len(claim)
    return int(memory.cache_bytes(context) + memory.graph_bytes(context))
