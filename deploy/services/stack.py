"""From a plan to everything that must be on each host."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.services import engines, litellm, open_webui
from deploy.services.component import Component, Tier
from deploy.services.context import ServiceContext
from deploy.spec import SecretName


@dataclass(frozen=True)
class Stack:
    """Every component of a deployment, on all its hosts."""

    name: str
    components: tuple[Component, ...]

    def on(self, host: str) -> tuple[Component, ...]:
        """The components of one host, in the order in which they start."""
        return tuple(component for component in self.components if component.host == host)

    def tier(self, tier: Tier) -> tuple[Component, ...]:
        """The components of one tier, on all hosts."""
        return tuple(component for component in self.components if component.tier == tier)

    @property
    def secrets(self) -> frozenset[SecretName]:
        """Every secret that one of the containers is given."""
        return frozenset(
            secret
            for component in self.components
            for secret in component.container.secret_env.values()
        )


def make_stack(context: ServiceContext) -> Stack:
    """The containers and files of a plan."""
    plan = context.plan
    components = [engines.component(context, replica) for replica in plan.replicas]
    components.append(litellm.component(context))
    if plan.web_ui:
        components.append(open_webui.component(context, plan.web_ui))
    return Stack(plan.name, tuple(components))
