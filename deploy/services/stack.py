"""From a plan to everything that must be on each host."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.services.context import ServiceContext
from deploy.services.registry import SERVICES
from deploy.services.unit import Tier, Unit
from deploy.spec import SecretText


@dataclass(frozen=True)
class Stack:
    """Every unit of a deployment, on all its hosts."""

    name: str
    units: tuple[Unit, ...]
    """In the order in which they start."""

    def on(self, host: str) -> tuple[Unit, ...]:
        """The units of one host, in the order in which they start."""
        return tuple(unit for unit in self.units if unit.host == host)

    def tier(self, tier: Tier) -> tuple[Unit, ...]:
        """The units of one tier, on all hosts."""
        return tuple(unit for unit in self.units if unit.tier == tier)

    def tiers(self) -> tuple[Tier, ...]:
        """The tiers that have units, in order."""
        return tuple(tier for tier in Tier if self.tier(tier))

    def needs_docker(self, host: str) -> bool:
        """Whether something runs in a container there."""
        return any(unit.image_name for unit in self.on(host))

    def stands_in(self, unit: Unit) -> bool:
        """Whether a unit on another host serves the same."""
        return any(other.serves == unit.serves and other.host != unit.host for other in self.units)

    @property
    def secrets(self) -> frozenset[str]:
        """Names of every secret that one of the units is given."""
        texts = [
            *(text for unit in self.units for text in unit.runs.secret_env.values()),
            *(
                file.content
                for unit in self.units
                if unit.config
                for file in unit.config.files.values()
                if isinstance(file.content, SecretText)
            ),
        ]
        return frozenset(name for text in texts for name in text.secrets.values())


def make_stack(context: ServiceContext) -> Stack:
    """The units of a plan."""
    units = [unit for service in SERVICES for unit in service.units(context)]
    models = list(context.plan.served_models)

    def position(unit: Unit) -> tuple[int, int]:
        return unit.tier.position, models.index(unit.serves) if unit.serves in models else 0

    return Stack(context.plan.name, tuple(sorted(units, key=position)))
