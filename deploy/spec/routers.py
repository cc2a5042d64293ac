"""The routers of a deployment: one, or both side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pydantic import model_validator

from deploy.spec.base import Spec, refusal
from deploy.spec.router import RouterKind, RouterSpec


class RoutersSpec(Spec):
    """What takes requests and hands them to the engines."""

    router: RouterSpec = RouterSpec()
    """What takes requests and hands them to the engines."""
    routers: tuple[RouterSpec, ...] = ()
    """Instead of ``router``: both routers side by side, one of each kind. People and the web UI use
    the address of the first one, the main router."""

    @model_validator(mode="after")
    def _routers_stand_side_by_side(self) -> RoutersSpec:
        if self.routers and self.router != RouterSpec():
            raise refusal(
                "router and routers are both declared",
                "router for one, routers for both",
                "move what router says into routers, and remove router",
            )
        counts = Counter(router.kind for router in self.routers)
        if repeated := [kind for kind, count in counts.items() if count > 1]:
            raise refusal(
                f"routers has {repeated[0]!r} more than once",
                "one router of each kind",
                "declare replicas of one router for several of the same kind",
            )
        for path, router in self.router_settings():
            if router.models is not None and len(self.all_routers) == 1:
                raise refusal(
                    f"{path}.models is declared, and there is one router",
                    "models of a router next to another one",
                    f"remove {path}.models: one router serves all models",
                )
        return self

    @property
    def all_routers(self) -> tuple[RouterSpec, ...]:
        """Every router, the main one first."""
        return self.routers or (self.router,)

    @property
    def main_router(self) -> RouterSpec:
        """The router whose address people and the web UI have."""
        return self.all_routers[0]

    def router_of(self, kind: RouterKind) -> RouterSpec | None:
        """The router of a kind, where there is one."""
        return next((router for router in self.all_routers if router.kind == kind), None)

    @property
    def aliases(self) -> dict[str, str]:
        """Other names that clients may ask for; only LiteLLM has them."""
        litellm = self.router_of("litellm")
        return litellm.aliases if litellm else {}

    def is_behind_entry(self, router: RouterSpec) -> bool:
        """Whether an entry leads to a router: to the main one, and to LiteLLM, which completes."""
        return router is self.main_router or router.kind == "litellm"

    def router_settings(self) -> Iterator[tuple[str, RouterSpec]]:
        """Every router, and where it stands in the inventory."""
        for index, router in enumerate(self.routers):
            yield f"routers[{index}]", router
        if not self.routers:
            yield "router", self.router
