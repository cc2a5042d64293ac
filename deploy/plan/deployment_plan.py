"""What a plan consists of."""

from __future__ import annotations

from typing import Literal

from deploy.plan.part import PlanPart
from deploy.plan.people_plan import PeoplePlan
from deploy.plan.replica_plan import ReplicaPlan
from deploy.plan.service_plans import (
    EntryPlan,
    LinksPlan,
    PostgresPlan,
    RouterPlan,
    ValkeyPlan,
    WebUIPlan,
)
from deploy.spec.router import RouterKind


class RejectedPlan(PlanPart):
    """An arrangement that was not chosen."""

    arrangement: str
    """Which."""
    reason: str
    """Why not."""


class ModelPlan(PlanPart):
    """What one model gives, by all its replicas."""

    name: str
    """Name of the model."""
    served_model_name: str
    """What clients ask for."""
    roles: tuple[str, ...]
    """What it is for."""
    engine: str
    """Kind of the engine."""
    quantization: str
    """How its weights are kept."""
    max_model_len: int
    """Longest request, in tokens."""
    context_tokens: int
    """Tokens of a request, as users are counted."""
    concurrent_users: int
    """Requests of so many tokens that are answered at once."""
    tokens_per_second_per_user: float | None
    """Estimate for each of them; ``None`` where there is none: on a CPU, and without text."""
    prompt_tokens_per_second: float | None = None
    """Tokens of prompts that one replica reads in a second, estimated; ``None`` where that is not
    known."""
    at_the_limit: str
    """What happens to one request more."""
    reasons: tuple[str, ...] = ()
    """Why this arrangement."""
    rejected: tuple[RejectedPlan, ...] = ()
    """Why not another."""

    @property
    def writes(self) -> bool:
        """Whether it writes text."""
        return not {"embedding", "rerank"} & {*self.roles}


class HostPlan(PlanPart):
    """A machine of the plan."""

    name: str
    """Its name."""
    gpus: tuple[str, ...] = ()
    """Catalogue ids of its GPUs, in order."""
    gpu_ids: tuple[str, ...] = ()
    """What engines can use is called so there: ``0`` is a GPU, ``1:0`` an instance of one (MIG)."""
    gpu_names: tuple[str, ...] = ()
    """What each of those is: an id of the catalogue, with the profile of an instance."""
    usable_gib: tuple[float, ...] = ()
    """Memory of each of those that an engine sees."""
    gpu_runtime: str = "nvidia"
    """How containers reach NVIDIA GPUs."""
    gpu_groups: tuple[int, ...] = ()
    """Groups that own AMD's devices."""
    address: str = ""
    """Where other hosts reach it."""
    engines: Literal["containers", "native"] = "containers"
    """How engines run there."""
    system: Literal["linux", "macos"] = "linux"
    """Its operating system."""


class DeploymentPlan(PlanPart):
    """What runs where."""

    name: str
    """Name of the deployment."""
    replicas: tuple[ReplicaPlan, ...]
    """Every replica of every model."""
    routers: tuple[RouterPlan, ...]
    """Every router, the main one first."""
    web_ui: WebUIPlan | None
    """The web UI, if there is one."""
    postgres: PostgresPlan | None = None
    """The databases, if there are any."""
    valkey: ValkeyPlan | None = None
    """What routers share, if they do."""
    entry: EntryPlan | None = None
    """The entry, if there is one."""
    links: LinksPlan | None = None
    """What goes from routers to engines on other hosts, if anything does."""
    people: PeoplePlan | None = None
    """Who has keys; ``None`` of a router without a database, which has the master key alone."""
    hosts: tuple[HostPlan, ...] = ()
    """The machines."""
    models: tuple[ModelPlan, ...] = ()
    """What each model gives."""
    users: int = 1
    """How many people use it."""
    use: str = "internal_commercial"
    """What for."""
    warnings: tuple[str, ...] = ()
    """What works, but not as one may expect."""

    @property
    def router(self) -> RouterPlan:
        """The main router: people, the web UI and the entry ask it."""
        return self.routers[0]

    @property
    def completing_router(self) -> RouterPlan:
        """The router that answers ``/v1/completions``.

        It is LiteLLM, which is fast enough to type with, where there is one.
        """
        return self.router_of("litellm") or self.router

    @property
    def routers_behind_entry(self) -> tuple[RouterPlan, ...]:
        """The routers that an entry leads to: the main one, and LiteLLM, which completes."""
        return tuple(each for each in self.routers if each in (self.router, self.completing_router))

    def does_all_else(self, router: RouterPlan) -> bool:
        """Whether a router is asked everything but completions.

        The main one is, and one that no entry leads to.
        """
        return router == self.router or router not in self.routers_behind_entry

    def router_of(self, kind: RouterKind) -> RouterPlan | None:
        """The router of a kind, where there is one."""
        return next((router for router in self.routers if router.spec.kind == kind), None)

    @property
    def request_timeout_seconds(self) -> int:
        """How long a request may take at most, at whichever router."""
        return max(router.spec.request_timeout_seconds for router in self.routers)

    @property
    def aliases(self) -> dict[str, str]:
        """Other names that clients may ask for; only LiteLLM has them."""
        litellm = self.router_of("litellm")
        return litellm.spec.aliases if litellm else {}

    @property
    def served_models(self) -> list[str]:
        """What clients can ask for, in the order of declaration."""
        return list(dict.fromkeys(replica.served_model_name for replica in self.replicas))

    def roles_of(self, served_model_name: str) -> tuple[str, ...]:
        """What a model is for."""
        return next((m.roles for m in self.models if m.served_model_name == served_model_name), ())

    def is_for_chat(self, served_model_name: str) -> bool:
        """Whether a model is asked to chat, not only to complete."""
        return "chat" in self.roles_of(served_model_name)

    @property
    def default_model(self) -> str:
        """What a chat starts with: the first model for chat."""
        chat = [name for name in self.served_models if self.is_for_chat(name)]
        return (chat or self.served_models)[0]

    @property
    def concurrent_users(self) -> int:
        """People who can use every model at the same time."""
        return min((model.concurrent_users for model in self.models), default=0)

    def host(self, name: str) -> HostPlan:
        """A machine by its name."""
        return next(host for host in self.hosts if host.name == name)

    def replicas_of(self, served_model_name: str) -> tuple[ReplicaPlan, ...]:
        """The replicas of one model."""
        return tuple(r for r in self.replicas if r.served_model_name == served_model_name)

    def on_gpu(self, host: str, index: int) -> tuple[ReplicaPlan, ...]:
        """The replicas that use a GPU."""
        return tuple(r for r in self.replicas if host in r.hosts and index in r.gpus)

    def loaded_on_gpu(self, host: str, index: int) -> tuple[ReplicaPlan, ...]:
        """Those of them that take its memory at the same time: of a shared Ollama the largest."""
        replicas = self.on_gpu(host, index)
        return tuple(r for r in replicas if r in _loaded(r, replicas))


def _loaded(replica: ReplicaPlan, replicas: tuple[ReplicaPlan, ...]) -> list[ReplicaPlan]:
    """What is loaded at a time of the models of its engine."""
    engine = replica.engine
    if engine.shared is None:
        return [replica]
    own = [each for each in replicas if each.engine.shared == engine.shared]
    return sorted(own, key=_on_each_gpu, reverse=True)[: engine.most_loaded]


def _on_each_gpu(replica: ReplicaPlan) -> float:
    return replica.memory.total_gib if replica.memory else 0.0
