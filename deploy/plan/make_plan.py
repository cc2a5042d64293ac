"""From the declared deployment to what runs where, or to why it cannot be."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from deploy.catalog import Catalog
from deploy.errors import PlanError, Problem
from deploy.model_files import ModelFile
from deploy.plan.deployment_plan import DeploymentPlan, ReplicaPlan, RouterPlan, WebUIPlan
from deploy.plan.memory import container_memory_bytes
from deploy.spec import DeploymentSpec, ModelSpec

DEFAULT_MAX_MODEL_LEN = 8192


def make_plan(
    spec: DeploymentSpec, catalog: Catalog, model_files: Mapping[str, ModelFile]
) -> DeploymentPlan:
    """Work out what runs where.

    Args:
        spec: the declared deployment.
        catalog: what is known of models, images and GPUs.
        model_files: the file of each model, by its name.

    Raises:
        PlanError: with one problem per thing that cannot be carried out.
    """
    problems = list(_problems(spec, catalog, model_files))
    if problems:
        raise PlanError(*problems)
    host = spec.hosts[0].name
    return DeploymentPlan(
        name=spec.name,
        replicas=tuple(
            _replica(spec, model, host, catalog, model_files[model.name]) for model in spec.models
        ),
        router=RouterPlan(host=host, spec=spec.router),
        web_ui=WebUIPlan(host=host, spec=spec.web_ui) if spec.web_ui else None,
    )


def _replica(
    spec: DeploymentSpec, model: ModelSpec, host: str, catalog: Catalog, file: ModelFile
) -> ReplicaPlan:
    entry = catalog.models.get(model.name) if model.path is None else None
    max_model_len = model.max_model_len or (entry.max_model_len if entry else DEFAULT_MAX_MODEL_LEN)
    return ReplicaPlan(
        host=host,
        index=0,
        model=model.name,
        served_model_name=model.served_name,
        file=file,
        engine=spec.engine,
        max_model_len=max_model_len,
        max_num_seqs=model.max_num_seqs or spec.engine.max_num_seqs,
        memory_limit_bytes=spec.engine.memory_limit or container_memory_bytes(file.size_bytes),
        extra_args=(*spec.engine.extra_args, *model.extra_args),
    )


def _problems(
    spec: DeploymentSpec, catalog: Catalog, model_files: Mapping[str, ModelFile]
) -> Iterator[Problem]:
    yield from _host_problems(spec, catalog)
    for index, model in enumerate(spec.models):
        path = f"models[{index}].name"
        if model.name not in model_files and model.name in catalog.models:
            yield _without_file(path, model.name)
        elif model.name not in model_files:
            allowed = "a model that `atelier models` lists, or any with a path"
            yield _unknown(path, model.name, list(catalog.models), allowed)
        else:
            yield from _context_problems(model, catalog, f"models[{index}].max_model_len")
    for name in spec.images:
        if name not in catalog.images:
            yield _unknown(f"images.{name}", name, list(catalog.images))


def _host_problems(spec: DeploymentSpec, catalog: Catalog) -> Iterator[Problem]:
    if len(spec.hosts) > 1:
        yield Problem(
            "hosts",
            f"{len(spec.hosts)} hosts",
            "one host",
            "this version places everything on one machine: declare only that one",
        )
    for host_index, host in enumerate(spec.hosts):
        for gpu_index, gpu in enumerate(host.gpus):
            path = f"hosts[{host_index}].gpus[{gpu_index}]"
            if gpu not in catalog.gpus:
                yield _unknown(path, gpu, list(catalog.gpus), "a GPU that `atelier gpus` lists")


def _context_problems(model: ModelSpec, catalog: Catalog, path: str) -> Iterator[Problem]:
    entry = catalog.models.get(model.name) if model.path is None else None
    if entry and model.max_model_len and model.max_model_len > entry.max_model_len:
        yield Problem(
            path,
            f"{model.max_model_len} tokens",
            f"at most {entry.max_model_len}, what {model.name} was trained for",
        )


def _without_file(path: str, name: str) -> Problem:
    return Problem(
        path,
        f"{name!r} is not shipped with Atelier",
        "a model with a file on this machine",
        "download its GGUF file and declare it with path",
    )


def _unknown(path: str, found: str, known: list[str], allowed: str = "") -> Problem:
    matches = difflib.get_close_matches(found, known, n=1)
    fix = f"did you mean {matches[0]!r}?" if matches else ""
    return Problem(path, repr(found), allowed or ", ".join(sorted(known)), fix)
