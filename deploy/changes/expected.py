"""A unit as it is to be on its host, to be compared with what is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deploy.services import Unit
from deploy.services.runs import Facts, Runs, Secrets


@dataclass(frozen=True)
class Expected:
    """What a look at the host must find."""

    noun: str
    """``container`` or ``service``."""
    made_from: tuple[str, str]
    """The field that says what it is made from, and its value."""
    public: dict[str, Any]
    """Its public description."""
    facts: Facts
    """How it must be where the description does not say it."""


def expected(unit: Unit, deployment: str, image_id: str | None, secrets: Secrets) -> Expected:
    """What a look at the host must find of a unit.

    Args:
        unit: the unit.
        deployment: name of its deployment.
        image_id: id of the wanted image, if the host has it.
        secrets: digests and values of secrets.
    """
    runs: Runs = unit.runs
    facts = runs.facts(unit.marks(deployment), image_id, secrets)
    return Expected(runs.noun, runs.made_from, runs.public(secrets.digest), facts)
