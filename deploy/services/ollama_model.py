"""The model of a replica of Ollama: pulled from its library, or created from a GGUF file.

Modelfiles: https://docs.ollama.com/modelfile, templates: https://docs.ollama.com/template
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from deploy.catalog import Model, load_catalog
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.weights import ollama_name
from deploy.services.context import ServiceContext
from deploy.services.host_files import HostModelFile, StoredModel

MODELS = PurePosixPath("/models")
"""Where the directory of the model's file is in the container."""
HOME = PurePosixPath("/var/lib/ollama")
"""Where the volume with the models is in the container."""
LIBRARY = "registry.ollama.ai"
PULLED = "library"
KEEP_FOR_EVER = "-1"


def manifest_path(name: str) -> str:
    """Path of a model's manifest in the store; names without a registry are in Ollama's."""
    path, _, tag = name.rpartition(":")
    parts = path.split("/")
    return "/".join([*(LIBRARY, "library")[: max(3 - len(parts), 0)], *parts, tag])


def completes(context: ServiceContext, replica: ReplicaPlan) -> bool:
    """Whether it continues text, and does not only chat.

    The one template of a model that is created from a file is for the one or for the other; those
    of the library are for both.
    """
    roles = context.plan.roles_of(replica.served_model_name)
    return "completion" in roles and not (replica.file and "chat" in roles)


def model_file(context: ServiceContext, replica: ReplicaPlan) -> HostModelFile | None:
    """The file that a model is created from, on its host; ``None`` of one that is pulled."""
    file = replica.file
    if file is None:
        return None
    path = context.model_path(replica.host, file.sha256, file.path.name)
    return HostModelFile(source=file, path=path)


def unproven_name(name: str) -> str:
    """What a model is called until it has been loaded for the first time."""
    return f"{name.rpartition(':')[0]}:atelier-next"


@dataclass(frozen=True)
class Store:
    """Where an Ollama keeps its models."""

    volume: str
    """Its volume; empty where the store is a directory of the host."""
    home: PurePosixPath
    """Where it is, as Ollama sees it."""


def stored_model(
    context: ServiceContext,
    replica: ReplicaPlan,
    store: Store,
    seen: Callable[[HostModelFile], PurePosixPath],
) -> StoredModel:
    """What must be in a store for a replica.

    Args:
        context: the deployment.
        replica: the replica.
        store: that of its engine.
        seen: says where the directory of its file is, as Ollama sees it.
    """
    engine, file = replica.engine, model_file(context, replica)
    modelfile, source = "", PULLED
    if file is not None:
        modelfile = _modelfile(replica, seen(file), completes=completes(context, replica))
        digest = hashlib.sha256(modelfile.encode()).hexdigest()
        source = f"{file.source.sha256[:16]}-{digest[:8]}"
    return StoredModel(
        name=ollama_name(replica),
        modelfile=modelfile,
        source=source,
        volume=store.volume,
        home=store.home,
        # a shared one loads its models when they are asked for
        resident=engine.keep_alive == KEEP_FOR_EVER and not engine.shared,
        file=file,
    )


def _modelfile(replica: ReplicaPlan, files: PurePosixPath, *, completes: bool) -> str:
    """Chatting is left to the template in the file; completing wants the text as it is."""
    assert replica.file is not None  # noqa: S101 - asked for only where there is one
    lines = [f"FROM {files / part.path.name}" for part in replica.file.parts]
    if completes:
        template = _completion_template(load_catalog().models.get(replica.model))
        lines.append(f'TEMPLATE """{template}"""')
    return "\n".join(lines) + "\n"


def _completion_template(entry: Model | None) -> str:
    """With the tokens that ask for what stands before a suffix, of models that have them."""
    tokens = entry.fill_in_the_middle if entry else None
    if tokens is None:
        return "{{ .Prompt }}"
    before = tokens.prefix + "{{ .Prompt }}"
    after = tokens.suffix + "{{ .Suffix }}"
    both = after + before if tokens.suffix_first else before + after
    return "{{ if .Suffix }}" + both + tokens.middle + "{{ else }}{{ .Prompt }}{{ end }}"
