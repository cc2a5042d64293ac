"""Why people cannot be added or changed by a command."""

from __future__ import annotations

from deploy.errors import Problem
from deploy.people.records import Live
from deploy.plan.people import ARISTOTE_ACCOUNT, aristote_lacks
from deploy.plan.people_plan import PersonPlan


def not_in_aristote(person: PersonPlan, *, is_alone: bool) -> list[Problem]:
    """What Aristote has nothing for and no LiteLLM has beside it; the name of its first user."""
    found = "set, and Aristote has nothing like it"
    problems = [
        Problem(f"{person.name}: {name}", found, fix="leave it out")
        for name in (aristote_lacks(person) if is_alone else ())
    ]
    if person.name == ARISTOTE_ACCOUNT:
        problems.append(Problem(person.name, "its key is the master key", "another name"))
    return problems


def declared_person(name: str, setting: str) -> Problem:
    """Who is declared is changed in the inventory.

    Args:
        name: of the person.
        setting: what is to be declared; empty where there is nothing to declare.
    """
    how = f"Person(name={name!r}, {setting})" if setting else f"Person(name={name!r})"
    return Problem(
        name,
        "declared in the inventory",
        "people that the inventory does not declare",
        f"change it there ({how}), and deploy",
    )


def no_such_person(name: str, found: Live) -> Problem:
    """Nobody of that name has a key."""
    names = ", ".join(sorted({record.name for record in found.of("key")}))
    return Problem(name, "has no key", names or "somebody with a key; there is no one")
