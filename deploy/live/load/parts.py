"""What a load consists of: who asks which model, and what the plan promises them; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploy.artefacts import Artefacts
from deploy.catalog import load_catalog
from deploy.catalog.models import FillInTheMiddle
from deploy.errors import PlanError, Problem
from deploy.live.load.figures import Part
from deploy.live.load.promise import promise
from deploy.live.load.target import Limits
from deploy.live.load.workload import SHAPES, Choice, Use, requests_per_minute
from deploy.plan.deployment_plan import DeploymentPlan
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import RouterPlan
from deploy.services import engines

MOST_USERS = 1000
"""Further ones need more than one machine to play them."""
MOST_MINUTES = 60.0
USUAL_SECONDS = 3.0
"""Of an answer, where the plan does not say."""


def require_sensible(users: int, minutes: float) -> None:
    """Refuse loads that are none, or more than this machine plays.

    Raises:
        PlanError: if it is one.
    """
    problems = []
    if not 1 <= users <= MOST_USERS:
        problems.append(Problem("--users", str(users), f"1 to {MOST_USERS}"))
    if not 0 < minutes <= MOST_MINUTES:
        problems.append(Problem("--minutes", f"{minutes:g}", f"more than 0, to {MOST_MINUTES:g}"))
    if problems:
        raise PlanError(*problems)


def choose_parts(
    artefacts: Artefacts,
    planned: DeploymentPlan | None,
    users: int,
    choice: Choice,
    model: str | None = None,
) -> list[Part]:
    """Who asks which model.

    Args:
        artefacts: the deployment.
        planned: the plan of the same for so many people; ``None`` where there is none.
        users: how many there are.
        choice: what they do; with both, every second one chats.
        model: what is asked for; by default what is made for each use.

    Raises:
        PlanError: if there is no such model, or none for that.
    """
    wanted = list(Use) if choice is Choice.BOTH else [Use(choice.value)]
    models = {use: _model(artefacts, use, model) for use in wanted}
    found = {use: name for use, name in models.items() if name}
    if not found or (model and len(found) < len(wanted)):
        raise PlanError(_no_model(artefacts, wanted, model))
    counts = _shared_out(users, len(found))
    return [
        _part(artefacts, planned, use, name, count)
        for (use, name), count in zip(found.items(), counts, strict=True)
        if count
    ]


def asked_router(artefacts: Artefacts, parts: Sequence[Part]) -> RouterPlan:
    """Which router people ask where there is no entry.

    Raises:
        PlanError: if some would ask one, and others the other.
    """
    plan = artefacts.plan
    asked = [
        plan.completing_router if part.shape.use is Use.COMPLETIONS else plan.router
        for part in parts
    ]
    if plan.entry is None and any(router != asked[0] for router in asked):
        raise PlanError(
            Problem(
                "--use",
                "both, and without an entry each of two routers has an address of its own",
                "chats or completions",
                f"give --use {Use.CHATS} or --use {Use.COMPLETIONS}, or declare entry=Entry()",
            )
        )
    return asked[0]


def _shared_out(users: int, parts: int) -> Iterator[int]:
    for index in range(parts):
        yield users // parts + (index < users % parts)


def _part(
    artefacts: Artefacts, planned: DeploymentPlan | None, use: Use, name: str, people: int
) -> Part:
    replicas = serving(artefacts, name)
    shape = SHAPES[use].within(min(replica.max_model_len for replica in replicas))
    served = replicas[0].served_model_name
    rows = {row.served_model_name: row for row in planned.models} if planned else {}
    promised = promise(rows[served], planned.users, shape) if planned and served in rows else None
    return Part(shape, name, people, promised)


def _model(artefacts: Artefacts, use: Use, asked: str | None) -> str | None:
    plan = artefacts.plan
    if asked:
        replicas = serving(artefacts, asked)
        return asked if replicas and _can(artefacts, replicas[0], use) else None
    if use is Use.CHATS:
        return plan.default_model if plan.is_for_chat(plan.default_model) else None
    able = [
        name
        for name in plan.completing_router.models
        if _can(artefacts, plan.replicas_of(name)[0], Use.COMPLETIONS)
    ]
    made_for_it = [name for name in able if "completion" in plan.roles_of(name)]
    # a model that is only for it comes before one that chats, too
    made_for_it.sort(key=plan.is_for_chat)
    return next(iter([*made_for_it, *able]), None)


def _can(artefacts: Artefacts, replica: ReplicaPlan, use: Use) -> bool:
    if not replica.writes:
        return False
    name = replica.served_model_name
    if use is Use.CHATS:
        return artefacts.plan.is_for_chat(name)
    if name not in artefacts.plan.completing_router.models:
        return False
    return engines.upstream(artefacts.context, replica).completes


def serving(artefacts: Artefacts, name: str) -> Sequence[ReplicaPlan]:
    """The replicas that serve a model, an alias of one, or an adapter."""
    plan = artefacts.plan
    name = plan.aliases.get(name, name)
    return [r for r in plan.replicas if name in {r.served_model_name, *r.lora_adapters}]


def _no_model(artefacts: Artefacts, wanted: list[Use], model: str | None) -> Problem:
    uses = " and ".join(wanted)
    names = ", ".join(artefacts.plan.served_models)
    if model and not serving(artefacts, model):
        return Problem("--model", f"{model!r} is not served", names)
    if model:
        return Problem("--model", f"{model} is not for {uses}", fix="choose another --use")
    return Problem("--use", f"no model is for {uses}; served are {names}", fix="choose another")


def markers_of(artefacts: Artefacts, name: str) -> FillInTheMiddle | None:
    """The tokens that ask a model for what is between two texts; none of models not known."""
    entry = load_catalog().models.get(serving(artefacts, name)[0].model)
    return entry.fill_in_the_middle if entry else None


def expected_requests_per_minute(parts: Sequence[Part]) -> float:
    """What all of them send."""
    total = 0.0
    for part in parts:
        seconds = USUAL_SECONDS
        speed = part.promise.tokens_per_second_per_user if part.promise else None
        if part.promise and speed:
            seconds = (part.promise.first_token_seconds or 0) + part.shape.output_tokens / speed
        total += part.people * requests_per_minute(part.shape, seconds)
    return total


def limit_warnings(parts: Sequence[Part], limits: Limits | None) -> Iterator[str]:
    """What the entry will refuse of it, as all of it comes from one address."""
    if limits is None:
        return
    people, rate = sum(part.people for part in parts), expected_requests_per_minute(parts)
    if rate > limits.requests_per_minute:
        yield (
            f"about {rate:.0f} requests a minute come from this one address, and the entry lets"
            f" {limits.requests_per_minute} pass (entry.requests_per_minute): the others are"
            " answered with 429, and counted separately"
        )
    if people > limits.connections:
        yield (
            f"{people} connections come from this one address, and the entry takes"
            f" {limits.connections} (entry.connections): requests on further ones are answered 429"
        )
