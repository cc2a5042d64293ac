"""Names by which containers ask each other: Docker makes names of the network of them."""

from __future__ import annotations

from collections.abc import Iterable

from deploy.errors import Problem
from deploy.services.container import ContainerSpec
from deploy.services.unit import Tier, Unit

LONGEST_LABEL = 63
"""https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4"""
ASKED = {Tier.STORE, Tier.ENGINE, Tier.ROUTER, Tier.WEB_UI, Tier.CERTIFICATE}
"""Tiers whose containers others ask by their names."""


def name_problems(units: Iterable[Unit]) -> list[Problem]:
    """Names that no program would find, as they are too long.

    Args:
        units: of a deployment.
    """
    return [
        Problem(
            "name",
            f"others ask {unit.name} by its name, and {label} has {len(label)} characters",
            f"at most {LONGEST_LABEL} between two dots, as names of a network have",
            "a shorter name of the deployment, of the model, or of the host",
        )
        for unit in units
        if _is_asked(unit)
        for label in unit.name.split(".")
        if len(label) > LONGEST_LABEL
    ]


def _is_asked(unit: Unit) -> bool:
    if not isinstance(unit.runs, ContainerSpec) or unit.runs.is_on_host_network:
        return False
    # the client of a link is asked by what listens for it
    is_client = unit.tier == Tier.LINK and unit.config is None and not unit.runs.listens
    return unit.tier in ASKED or is_client
