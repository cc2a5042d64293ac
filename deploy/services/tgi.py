"""Text Generation Inference (TGI): one model on GPUs, archived upstream.

Flags: ``launcher/src/main.rs`` of 3.3.7, https://github.com/huggingface/text-generation-inference.
It is given no key: its launcher writes all arguments into the log, the key among them, and hands
it on as an argument. Routers alone reach it, as they do Ollama.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from deploy.plan.replica_plan import ReplicaPlan
from deploy.services.container import environment
from deploy.services.context import ServiceContext
from deploy.services.gpu_access import gpu_variables
from deploy.services.hub_engine import STOP_SECONDS, replica_unit
from deploy.services.unit import Unit
from deploy.services.upstream import Upstream, openai_upstream
from deploy.services.weights import (
    HUGGINGFACE,
    model_directory,
    weights_mounts,
    weights_variables,
)
from deploy.spec import SecretText

IMAGE = "tgi"
PORT = 3000
ITSELF = "tgi"
"""What it calls its model; other names are those of adapters, of which it has none here."""
LEAST_IN_QUEUE = 512
"""Requests that wait or are answered before it refuses more."""
KV_CACHE_DTYPES = {"fp8": "fp8_e4m3fn"}


def units(context: ServiceContext) -> Iterator[Unit]:
    """A unit for each replica that it serves."""
    for replica in context.replicas("tgi"):
        yield _unit(context, replica)


def upstream(context: ServiceContext, replica: ReplicaPlan) -> Upstream:
    """How a router reaches a replica."""
    name = context.replica_name(IMAGE, replica)
    own = openai_upstream(context, replica, name, PORT)
    return replace(own, upstream_model=ITSELF, has_key=False, has_responses=False)


def arguments(replica: ReplicaPlan) -> tuple[str, ...]:
    """The arguments of ``text-generation-launcher``, the entry point of its image.

    The entry point takes them apart at spaces: no value has any.
    """
    weights, told = replica.weights, replica.tgi
    assert told is not None  # noqa: S101 - the plan of every replica of TGI has it
    length, requests = replica.max_model_len, replica.max_num_seqs
    model = str(model_directory(replica)) if weights.directory else str(weights.repository)
    return (
        *("--model-id", model),
        *("--hostname", "0.0.0.0", "--port", str(PORT)),  # noqa: S104 - in the container
        *("--num-shard", str(replica.tensor_parallel_size)),
        *("--cuda-memory-fraction", f"{told.cuda_memory_fraction:g}"),
        *("--max-input-tokens", str(length - 1), "--max-total-tokens", str(length)),
        *("--max-batch-prefill-tokens", str(told.max_batch_prefill_tokens)),
        *("--max-batch-size", str(requests)),
        *("--max-concurrent-requests", str(max(4 * requests, LEAST_IN_QUEUE))),
        *("--usage-stats", "off"),
        *("--graceful-termination-timeout", str(STOP_SECONDS - 5)),
        *_optional(replica),
        *replica.extra_args,
    )


def _optional(replica: ReplicaPlan) -> Iterator[str]:
    engine, told = replica.engine, replica.tgi
    is_plain = told is not None and told.quantization == "none" and not replica.quantization
    flags = {
        "--revision": replica.weights.revision,
        "--quantize": replica.quantization,
        # not to be said together with --quantize, nor of weights that are quantised
        "--dtype": told.dtype if told and is_plain else None,
        "--kv-cache-dtype": KV_CACHE_DTYPES.get(engine.kv_cache_dtype),
        "--cuda-graphs": "0" if engine.enforce_eager else None,
    }
    yield from (part for flag, value in flags.items() if value for part in (flag, str(value)))


def _unit(context: ServiceContext, replica: ReplicaPlan) -> Unit:
    return replica_unit(
        context,
        replica,
        IMAGE,
        IMAGE,
        port=PORT,
        command=arguments(replica),
        env=_environment(replica),
        mounts=weights_mounts(context, replica),
    )


def _environment(replica: ReplicaPlan) -> dict[str, str | SecretText]:
    places: dict[str, PurePosixPath] = {
        # the image keeps them in /data
        "HF_HOME": HUGGINGFACE,
        "HUGGINGFACE_HUB_CACHE": HUGGINGFACE / "hub",
    }
    return {
        **{name: str(path) for name, path in places.items()},
        **gpu_variables(replica),
        **weights_variables(replica),
        **environment(replica.engine.env),
    }
