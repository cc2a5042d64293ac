"""Whether the licences of a deployment's models allow what it is declared to be for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deploy.catalog import DEFAULT_USE, Catalog, Licence, Model, Use
from deploy.errors import Problem

if TYPE_CHECKING:
    from deploy.spec import DeploymentSpec

ALTERNATIVE_FACTOR = 4.0
"""A model up to this many times larger or smaller can stand in for another of its family."""


def licence_problems(spec: DeploymentSpec, catalog: Catalog) -> list[Problem]:
    """One problem for each declared model whose licence does not allow the declared use.

    Models that are files of the operator's own are not judged: only their owner knows.

    Args:
        spec: the declared deployment.
        catalog: where models and licences are looked up.
    """
    names = ["" if model.path else model.name for model in spec.models]
    return model_licence_problems(names, Use(spec.use), spec.users, catalog)


def model_licence_problems(
    models: Sequence[str], use: Use, users: int, catalog: Catalog
) -> list[Problem]:
    """One problem for each model whose licence does not allow a use by so many users."""
    problems = (
        _problem(f"models[{index}].name", name, use, users, catalog)
        for index, name in enumerate(models)
        if name in catalog.models
    )
    return [problem for problem in problems if problem]


def licence_warnings(
    works: Sequence[str], users: int, catalog: Catalog, use: Use = DEFAULT_USE
) -> list[str]:
    """What licences ask for without refusing: thresholds that are exceeded, and conditions.

    Args:
        works: names of models, and of software by the id of its licence (``open-webui``).
        users: how many people use them.
        catalog: where they are looked up.
        use: what they are used for.
    """
    return [text for work in works for text in _warnings(work, users, catalog, use)]


def use_name(use: Use) -> str:
    """A use as it is written on the command line, e.g. ``third-party-service``."""
    return use.value.replace("_", "-")


def refusal(model: Model, use: Use, users: int, catalog: Catalog) -> str:
    """The clause that forbids a use by so many users, after the licence's name; or nothing."""
    licence = catalog.licences[model.licence]
    permission = licence.permission(use)
    if not permission.allowed:
        return f"{licence.name}, {permission.clause}"
    for limit in licence.exceeded_thresholds(users):
        if limit.forbids:
            return (
                f"{licence.name}, {limit.clause}: above {limit.users:,} users per {limit.period},"
                f" {limit.consequence}"
            )
    return ""


def _problem(path: str, name: str, use: Use, users: int, catalog: Catalog) -> Problem | None:
    model = catalog.models[name]
    clause = refusal(model, use, users, catalog)
    if not clause:
        return None
    licence = catalog.licences[model.licence]
    return Problem(
        path=path,
        found=f"{name!r} may not be used for {use_name(use)} by {users} users: {clause}",
        allowed=", ".join(_allowed(licence)) or "nothing without another agreement",
        fix=", or ".join(_ways_out(name, use, users, catalog)),
    )


def _allowed(licence: Licence) -> Iterator[str]:
    for use in Use:
        permission = licence.permission(use)
        if permission.allowed:
            condition = f" ({permission.condition})" if permission.condition else ""
            yield f"{use_name(use)}{condition}"


def _ways_out(name: str, use: Use, users: int, catalog: Catalog) -> Iterator[str]:
    for other in alternatives(name, use, users, catalog):
        licence = catalog.licences[catalog.models[other].licence]
        yield f"serve {other!r} ({licence.name})"
    licence = catalog.licences[catalog.models[name].licence]
    notes = "" if licence.permission(use).allowed else licence.notes.rstrip(".")
    yield "agree with its makers" + (f" ({notes})" if notes else "")


def alternatives(name: str, use: Use, users: int, catalog: Catalog) -> list[str]:
    """The nearest models by size with the same roles that may be used: of its family, of all."""
    model = catalog.models[name]
    allowed = [
        other
        for other, entry in catalog.models.items()
        if set(model.roles) <= set(entry.roles)
        and entry.parameters_billion > 0.1
        and not refusal(entry, use, users, catalog)
    ]

    def distance(other: str) -> tuple[float, bool]:
        entry = catalog.models[other]
        ratio = entry.parameters_billion / model.parameters_billion
        return abs(math.log(ratio)), entry.roles != model.roles

    family = [other for other in allowed if catalog.models[other].family == model.family]
    near = [other for other in family if distance(other)[0] <= math.log(ALTERNATIVE_FACTOR)]
    found = [min(group, key=distance) for group in (near, allowed) if group]
    return list(dict.fromkeys(found))


def _warnings(work: str, users: int, catalog: Catalog, use: Use) -> Iterator[str]:
    model = catalog.models.get(work)
    licence = catalog.licences.get(model.licence if model else work)
    if licence is None:
        return
    permission = licence.permission(use)
    if permission.allowed and permission.condition:
        yield f"{work}: {licence.name}, {permission.clause}: {permission.condition}"
    for limit in licence.exceeded_thresholds(users):
        if not limit.forbids:
            yield (
                f"{work}: {licence.name}, {limit.clause}: above {limit.users:,} users per"
                f" {limit.period}, {limit.consequence}"
            )
