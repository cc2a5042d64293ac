"""Who may use a deployment, with every limit worked out, and why that cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from deploy.errors import Problem
from deploy.plan.people_file import read_people_file
from deploy.plan.people_plan import PeoplePlan, PersonPlan, TeamPlan
from deploy.sealing import seal
from deploy.spec import DeploymentSpec, LimitsSpec, PersonSpec, TeamSpec
from deploy.spec.people import SharedLimits

LIMITS = tuple(LimitsSpec.model_fields)


def people_plan(
    spec: DeploymentSpec, directory: Path
) -> tuple[PeoplePlan | None, tuple[Problem, ...]]:
    """Teams and people with their limits, and what is wrong with them.

    Without a database the router has no keys but the master key: there is no plan then.

    Args:
        spec: the deployment.
        directory: what the path of the people's file is relative to.

    Raises:
        AtelierError: if that file cannot be read, or is not valid.
    """
    declared = [(f"people[{i}]", person) for i, person in enumerate(spec.people)]
    if spec.people_file:
        rows = read_people_file(directory / spec.people_file)
        declared += [(f"{spec.people_file.name}: {person.name}", person) for person in rows]
    people = [person for _, person in declared]
    problems = (
        *_store_problems(spec, people),
        *_repeats(declared),
        *_team_problems(spec, declared),
        *_model_problems(spec, declared),
        *_budget_problems(spec, declared),
        *_key_problems(declared),
        *_aristote_problems(spec, declared),
    )
    if spec.postgres is None:
        return None, problems
    # Aristote counts nothing: aristote_warnings says so
    limits = spec.limits if spec.router_of("litellm") else LimitsSpec()
    made = PeoplePlan(
        teams=tuple(_team(team) for team in spec.teams),
        people=tuple(person_plan(person, limits) for person in people),
        limits=limits,
    )
    return made, problems


def person_plan(person: PersonSpec, defaults: LimitsSpec) -> PersonPlan:
    """A person with their own limits over the deployment's."""
    limits: dict[str, Any] = {
        name: getattr(person if name in person.model_fields_set else defaults, name)
        for name in LIMITS
    }
    if limits["max_budget"] is None:
        limits["budget_duration"] = None
    return PersonPlan(
        name=person.name,
        email=person.address,
        team=person.team,
        models=tuple(sorted(set(person.models or ()))),
        expires=person.expires,
        disabled=person.disabled,
        public_key=person.public_key,
        **limits,
    )


def _team(team: TeamSpec) -> TeamPlan:
    return TeamPlan(
        name=team.name,
        models=tuple(sorted(set(team.models or ()))),
        max_budget=team.max_budget,
        budget_duration=team.budget_duration if team.max_budget else None,
        tpm_limit=team.tpm_limit,
        rpm_limit=team.rpm_limit,
    )


Declared = list[tuple[str, PersonSpec]]
"""People, and where each is declared."""


def _store_problems(spec: DeploymentSpec, people: list[PersonSpec]) -> Iterator[Problem]:
    if spec.postgres is None and (people or spec.teams):
        what = "people" if people else "teams"
        yield Problem(
            what,
            f"{what} are declared, but the router has no database to keep them in",
            "a deployment with PostgreSQL",
            "declare postgres=Postgres(), or a profile for 20 users or more",
        )
    if spec.postgres is None and spec.web_ui and spec.web_ui.people_only:
        yield Problem(
            "web_ui.people_only",
            "True, but the router has no database: no one has a key",
            "a deployment with PostgreSQL, or False",
            "declare postgres=Postgres(), or a profile for 20 users or more",
        )


def _repeats(declared: Declared) -> Iterator[Problem]:
    counts = Counter(person.name for _, person in declared)
    for where, person in declared:
        if counts.pop(person.name, 1) > 1:
            yield Problem(
                where,
                f"person {person.name!r} is declared more than once",
                "each person once",
                f"remove the second {person.name!r}",
            )
    # routers know people by it, whatever its case
    emails = Counter(person.address.lower() for _, person in declared if person.address)
    for where, person in declared:
        if person.address and emails.pop(person.address.lower(), 1) > 1:
            yield Problem(
                where, f"{person.address} is the address of more than one person", "one person each"
            )


def _team_problems(spec: DeploymentSpec, declared: Declared) -> Iterator[Problem]:
    teams = [team.name for team in spec.teams]
    for where, person in declared:
        if person.team is not None and person.team not in teams:
            yield Problem(
                f"{where}.team",
                f"{person.team!r}, which is not declared",
                ", ".join(teams) or "a declared team; there is none",
                f"declare teams=[Team(name={person.team!r})], or leave team out",
            )


def _model_problems(spec: DeploymentSpec, declared: Declared) -> Iterator[Problem]:
    """What somebody may ask for must be there to be asked for."""
    served = [model.served_name for model in spec.models]
    allowed = [*served, *spec.aliases]
    teams = {team.name: team for team in spec.teams}
    for i, team in enumerate(spec.teams):
        yield from _unknown_models(f"teams[{i}].models", team.models or (), allowed)
    for where, person in declared:
        yield from _unknown_models(f"{where}.models", person.models or (), allowed)
        team_of = teams.get(person.team or "")
        for model in person.models or ():
            if model in allowed and team_of and team_of.models and model not in team_of.models:
                yield Problem(
                    f"{where}.models",
                    f"{model!r}, which team {team_of.name} may not ask for",
                    ", ".join(team_of.models),
                )


def _unknown_models(path: str, models: Iterable[str], allowed: list[str]) -> Iterator[Problem]:
    for model in models:
        if model not in allowed:
            yield Problem(
                path,
                f"{model!r}, which is not served",
                ", ".join(allowed),
                "declare the model, or an alias for it: Router(aliases={...})",
            )


def _budget_problems(spec: DeploymentSpec, declared: Declared) -> Iterator[Problem]:
    """Nothing is ever spent of a budget where models cost nothing; Aristote has none at all."""
    litellm = spec.router_of("litellm")
    if litellm is None or litellm.prices:
        return
    budgets: list[tuple[str, SharedLimits]] = [
        ("limits", spec.limits),
        *((f"teams[{i}]", team) for i, team in enumerate(spec.teams)),
        *declared,
    ]
    for where, limits in budgets:
        if limits.max_budget is not None:
            yield Problem(
                f"{where}.max_budget",
                f"a budget of {limits.max_budget:g}, but no model has a price: nothing is spent",
                "a budget where models have prices",
                "declare Router(prices={'NAME': Price(input=1, output=1)}): then a budget of 1 is"
                " a million tokens",
            )
            return


ARISTOTE_LACKS = ("models", "expires", *LIMITS)
"""Settings of people and teams that Aristote has nothing for."""
ARISTOTE_ACCOUNT = "atelier"
"""Whom the master key is of, in Aristote's table of users."""


def aristote_lacks(who: PersonSpec | PersonPlan | TeamSpec) -> tuple[str, ...]:
    """What is set of somebody that Aristote cannot keep to."""
    return tuple(name for name in ARISTOTE_LACKS if getattr(who, name, None) not in {None, ()})


def _aristote_problems(spec: DeploymentSpec, declared: Declared) -> Iterator[Problem]:
    if spec.router_of("aristote") is None:
        return
    is_alone = spec.router_of("litellm") is None
    people: list[tuple[str, PersonSpec | TeamSpec]] = [
        *((f"teams[{i}]", team) for i, team in enumerate(spec.teams)),
        *declared,
    ]
    for where, each in people:
        for name in aristote_lacks(each) if is_alone else ():
            yield Problem(
                f"{where}.{name}",
                "declared, and Aristote has nothing like it",
                "people with a name, an address, a team and disabled",
                f"remove {name}, or declare Router(kind='litellm'), alone or as one of routers",
            )
        if each.name == ARISTOTE_ACCOUNT:
            yield Problem(
                f"{where}.name", f"{each.name!r}, whose key is the master key", "another name"
            )


def _key_problems(declared: Declared) -> Iterator[Problem]:
    for where, person in declared:
        if person.public_key:
            try:
                seal("", person.public_key)
            except ValueError as error:
                yield Problem(f"{where}.public_key", f"not a public key: {error}")
