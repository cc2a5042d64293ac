"""Hosts wait for each other between tiers."""

from deploy.operations import barrier


def wait(tier: str) -> None:
    """Go on when the tier runs on every host."""
    barrier.reached(name=f"All {tier} run")
