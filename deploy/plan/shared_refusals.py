"""Why models cannot share an Ollama as they are declared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from deploy.errors import Problem
from deploy.plan.placement import Claim
from deploy.plan.refusals import engine_path
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.shared import groups_of
from deploy.plan.weights import ollama_name
from deploy.spec import EngineSpec

OF_A_MODEL = {"quantization", "max_model_len", "max_num_seqs"}
"""Settings of an engine that are looked at with the models' own."""
SETTINGS = ("gpus", "max_model_len", "max_num_seqs")
"""Settings of models that are one process's."""


def shared_problems(claims: tuple[Claim, ...]) -> Iterator[Problem]:
    """Settings of which one Ollama has one, and several replicas."""
    yield from _pointless(claims)
    groups = groups_of(claims)
    for name, group in groups.items():
        yield from _engine_problems(name, group)
        yield from _setting_problems(name, group)
        yield from _replica_problems(name, group)
        yield from _name_problems(name, claims)


def _pointless(claims: tuple[Claim, ...]) -> Iterator[Problem]:
    if any(claim.engine.shared for claim in claims):
        return
    several = [claim for claim in claims if claim.engine.max_loaded_models > 1]
    for path in dict.fromkeys(engine_path(claim) for claim in several):
        yield Problem(
            f"{path}.max_loaded_models",
            "declared, and each model has an Ollama of its own",
            "with shared, the name of an Ollama for several models",
            "declare shared, or remove max_loaded_models",
        )


def _engine_problems(name: str, group: tuple[Claim, ...]) -> Iterator[Problem]:
    first = group[0]
    for claim in group[1:]:
        for setting in _differing(first.engine, claim.engine):
            mine, other = getattr(claim.engine, setting), getattr(first.engine, setting)
            # variables may be secret
            found = "others than" if setting == "env" else f"{mine!r}, and {other!r}"
            yield Problem(
                f"{engine_path(claim)}.{setting}",
                f"{found} for {first.name}, which shares the Ollama {name!r}",
                "the same for all models of one Ollama",
                f"declare it once, or another shared for {claim.name}",
            )


def _differing(one: EngineSpec, other: EngineSpec) -> Iterator[str]:
    for setting in EngineSpec.model_fields:
        if setting not in OF_A_MODEL and getattr(one, setting) != getattr(other, setting):
            yield setting


def _setting_problems(name: str, group: tuple[Claim, ...]) -> Iterator[Problem]:
    for setting in SETTINGS:
        declared = [(claim, value) for claim in group if (value := _value(claim, setting))]
        for claim, value in declared[1:]:
            first, other = declared[0]
            if value != other:
                yield Problem(
                    _place(claim, setting),
                    f"{value:g}, and {other:g} for {first.name}, which shares the Ollama {name!r}",
                    "the same for all models of one Ollama",
                    f"declare the same, or another shared for {claim.name}",
                )


def _value(claim: Claim, setting: str) -> Any:
    """As declared of the model, else of its engine."""
    return getattr(claim.model, setting) or getattr(claim.engine, setting, None)


def _place(claim: Claim, setting: str) -> str:
    """Where that value stands."""
    path = claim.path if getattr(claim.model, setting) else engine_path(claim)
    return f"{path}.{setting}"


def _replica_problems(name: str, group: tuple[Claim, ...]) -> Iterator[Problem]:
    for claim in group:
        count = claim.model.replicas or 1
        if count > 1:
            yield Problem(
                f"{claim.path}.replicas",
                f"{count} of {claim.name}, which shares the Ollama {name!r}: there is one of it",
                "1",
                "remove replicas, or give the model Ollamas of its own: shared=None",
            )


def _name_problems(name: str, claims: tuple[Claim, ...]) -> Iterator[Problem]:
    """Containers are called after the model, or after what models share."""
    for claim in claims:
        if claim.engine.kind == "ollama" and not claim.engine.shared and claim.model.name == name:
            yield Problem(
                f"{claim.path}.name",
                f"{name!r}, and a shared Ollama is called so, too",
                "a name of its own for each Ollama",
                "declare another name as shared",
            )


def tag_problems(claims: Iterable[Claim], replicas: Iterable[ReplicaPlan]) -> Iterator[Problem]:
    """Two models that one Ollama would call the same."""
    paths = {claim.name: claim.path for claim in claims}
    taken: dict[tuple[str, str], str] = {}
    for replica in replicas:
        shared, name = replica.engine.shared, replica.served_model_name
        if shared is None:
            continue
        other = taken.setdefault((shared, ollama_name(replica)), name)
        if other != name:
            yield Problem(
                f"{paths[name]}.weights",
                f"{ollama_name(replica)!r}, which {other} is in the Ollama {shared!r}, too",
                "each model of an Ollama once",
                f"remove one of them; router.aliases gives {other} another name",
            )
