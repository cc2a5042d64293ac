"""The weights that an engine loads from a cache of Hugging Face's client on its host.

The cache is the client's own (https://huggingface.co/docs/huggingface_hub/guides/manage-cache):
``hub`` in it is what ``HF_HUB_CACHE`` names. Engines only read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import PurePosixPath

from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.weights import declared_weights
from deploy.services.container import PROXIES, environment
from deploy.services.container_parts import Mount
from deploy.services.context import ServiceContext
from deploy.services.host_files import HostWeights
from deploy.services.unit import Unit

DEFAULT_REVISION = "main"
LOAD_FORMAT = "--load-format"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
"""Variables of an engine whose weights are there: it fetches nothing."""
HUGGINGFACE = PurePosixPath("/root/.cache/huggingface")
"""Where the client keeps its cache, in images that run as root."""
MODELS = PurePosixPath("/models")
REACHING = (*PROXIES, "HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT")
"""Variables of an engine that matter while its weights are fetched."""


def are_brought(replica: ReplicaPlan) -> bool:
    """Whether the weights of a replica are Atelier's to bring, and not the operator's."""
    return bool(replica.weights.repository) and not replica.engine.offline


def cache_directory(context: ServiceContext, replica: ReplicaPlan) -> PurePosixPath:
    """Where the cache is on the replica's host."""
    return replica.engine.huggingface_cache or context.weights_cache(replica.host)


def model_directory(replica: ReplicaPlan) -> PurePosixPath:
    """Where weights of a directory of the host are in the container."""
    return MODELS / replica.model


def weights_mounts(context: ServiceContext, replica: ReplicaPlan) -> dict[PurePosixPath, Mount]:
    """Where an engine finds its weights: the cache, or a directory of the host."""
    cache, directory = replica.engine.huggingface_cache, replica.weights.directory
    mounts = {}
    if are_brought(replica):
        mounts[HUGGINGFACE / "hub"] = cache_mount(context, replica)
    elif cache:
        mounts[HUGGINGFACE] = Mount(kind="bind", source=str(cache))
    else:
        own = f"{context.plan.name}-huggingface"
        mounts[HUGGINGFACE] = Mount(kind="volume", source=own)
    if directory:
        mounts[model_directory(replica)] = Mount(kind="bind", source=directory, read_only=True)
    return mounts


def weights_variables(replica: ReplicaPlan) -> dict[str, str]:
    """Variables of an engine that fetches nothing, where its weights are there."""
    return OFFLINE if replica.engine.offline or are_brought(replica) else {}


def cache_mount(context: ServiceContext, replica: ReplicaPlan) -> Mount:
    """The client's part of the cache, as an engine has it."""
    source = cache_directory(context, replica) / "hub"
    return Mount(kind="bind", source=str(source), read_only=True)


def host_weights(
    context: ServiceContext, replica: ReplicaPlan, image: str
) -> tuple[HostWeights, ...]:
    """What must be on the host before a replica starts.

    Args:
        context: the deployment.
        replica: the replica.
        image: name of its image, which has the hub's client.
    """
    return tuple(_each(context, replica, image)) if are_brought(replica) else ()


def _each(context: ServiceContext, replica: ReplicaPlan, image: str) -> Iterator[HostWeights]:
    own = replica.weights
    named = [(own.repository, own.revision, _load_format(replica))]
    adapters = [text for text in replica.lora_adapters.values() if not text.startswith("/")]
    for text in (*replica.extra_weights, *adapters):
        extra = declared_weights(text)
        named.append((extra.repository, extra.revision, "auto"))
    declared = environment(replica.engine.env)
    for repository, revision, load_format in named:
        yield HostWeights(
            repository=str(repository),
            revision=revision or DEFAULT_REVISION,
            cache=cache_directory(context, replica),
            endpoint=context.huggingface_endpoint,
            source=context.weights_sources.get(replica.host, "download"),
            load_format=load_format,
            image=context.images[image].reference,
            environment={name: declared[name] for name in REACHING if name in declared},
        )


def _load_format(replica: ReplicaPlan) -> str:
    """What the arguments of the engine say of it."""
    arguments = replica.extra_args
    for argument, following in pairwise((*arguments, "")):
        if argument == LOAD_FORMAT:
            return following or "auto"
        if argument.startswith(f"{LOAD_FORMAT}="):
            return argument.partition("=")[2]
    return "auto"


def distinct_weights(units: Iterable[Unit]) -> tuple[HostWeights, ...]:
    """What must be in the caches of a host, each once: replicas share it."""
    every = (weights for unit in units for weights in unit.weights)
    return tuple({(weights.cache, weights.name): weights for weights in every}.values())
