"""What a plan consists of."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deploy.model_files import ModelFile
from deploy.plan.addresses import bracketed, host_and_port
from deploy.plan.part import PlanPart
from deploy.plan.people_plan import PeoplePlan
from deploy.spec import EngineSpec, EntrySpec, PostgresSpec, RouterSpec, ValkeySpec, WebUISpec

HTTPS_PORT = 443
"""What an address with https:// means where it names no port."""


class MemoryPlan(PlanPart):
    """What a replica takes of each of its GPUs; of a pipeline, of the tightest stage's."""

    weights_gib: float
    """Weights."""
    overhead_gib: float
    """Activations, CUDA graphs, the engine itself."""
    kv_cache_gib: float
    """KV cache."""

    pinned_kv_cache_bytes: int = 0
    """The pool that vLLM is told to allocate; 0 where the engine decides."""

    @property
    def total_gib(self) -> float:
        """All of it."""
        return self.weights_gib + self.overhead_gib + self.kv_cache_gib


class WeightsPlan(PlanPart):
    """Where an engine finds the weights, where they are not a file of this machine."""

    repository: str | None = None
    """Repository on Hugging Face."""
    revision: str | None = None
    """Revision of that repository."""
    directory: str | None = None
    """Directory of the host."""
    tag: str | None = None
    """Tag in Ollama's library."""


class CpuPlan(PlanPart):
    """How vLLM uses a host's CPUs."""

    kv_cache_space_gib: int
    """KV cache of each process."""
    block_size: int
    """Tokens of a block."""
    omp_threads_bind: str
    """Cores of each process."""


class ReplicaPlan(PlanPart):
    """One replica of a model: an engine on a host."""

    host: str
    """Name of the host."""
    index: int
    """Which replica of its model, from 0."""
    model: str
    """Name of the model."""
    served_model_name: str
    """What clients ask for."""
    file: ModelFile | None = None
    """The weights, where they are a file of this machine."""
    weights: WeightsPlan = WeightsPlan()
    """Where they are otherwise."""
    extra_weights: tuple[str, ...] = ()
    """Other repositories that its arguments name."""
    engine: EngineSpec
    """How it is served."""
    max_model_len: int
    """Context length in tokens of one request."""
    max_num_seqs: int
    """Requests answered at the same time."""
    memory_limit_bytes: int
    """Memory limit of its container."""
    extra_args: tuple[str, ...] = ()
    """Arguments added to the engine's command line."""
    quantization: str | None = None
    """What the engine is told about the weights; ``None`` where it reads it from them."""
    gpus: tuple[int, ...] = ()
    """Indices of its GPUs on the host."""
    gpu_vendor: str = ""
    """Who made them; empty on a CPU."""
    tensor_parallel_size: int = 1
    """GPUs that share each layer."""
    pipeline_parallel_size: int = 1
    """Groups of GPUs that share the layers out."""
    gpu_memory_utilization: float | None = None
    """Share of each GPU's memory; ``None`` on a CPU."""
    memory: MemoryPlan | None = None
    """Memory on each of its GPUs; ``None`` on a CPU."""
    kv_cache_tokens: int = 0
    """Tokens of its KV cache."""
    concurrent_users: int = 0
    """Requests of the declared context that it answers at once."""
    cpu: CpuPlan | None = None
    """vLLM on CPUs; ``None`` on GPUs, and of other engines."""
    embeds: bool = False
    """Whether it makes embeddings, and no text."""
    tool_call_parser: str | None = None
    """vLLM: how it reads calls of tools."""
    reasoning_parser: str | None = None
    """vLLM: how it tells thoughts from answers."""
    lora_adapters: dict[str, str] = Field(default_factory=dict)
    """vLLM: where its adapters are, by the name that clients ask for."""
    max_lora_rank: int | None = None
    """vLLM: the largest rank of its adapters."""
    port: int | None = None
    """Port of the host that it is published on; only where the router is on another host."""


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
    """Estimate for each of them; ``None`` where there is none (on a CPU)."""
    at_the_limit: str
    """What happens to one request more."""
    reasons: tuple[str, ...] = ()
    """Why this arrangement."""
    rejected: tuple[RejectedPlan, ...] = ()
    """Why not another."""


class HostPlan(PlanPart):
    """A machine of the plan."""

    name: str
    """Its name."""
    gpus: tuple[str, ...] = ()
    """Catalogue ids of its GPUs, in order."""
    usable_gib: tuple[float, ...] = ()
    """Memory of each that an engine sees."""
    gpu_runtime: str = "nvidia"
    """How containers reach NVIDIA GPUs."""
    gpu_groups: tuple[int, ...] = ()
    """Groups that own AMD's devices."""
    address: str = ""
    """Where other hosts reach it."""


class RouterPlan(PlanPart):
    """Where the router runs."""

    host: str
    """Name of the host."""
    spec: RouterSpec
    """How it is declared."""


class WebUIPlan(PlanPart):
    """Where the web UI runs."""

    host: str
    """Name of the host."""
    spec: WebUISpec
    """How it is declared."""


DatabaseUser = Literal["router", "web_ui"]


class PostgresPlan(PlanPart):
    """Which databases there are, and where."""

    spec: PostgresSpec
    """How it is declared."""
    host: str | None
    """Where the server runs; ``None`` if every database is on a server of the operator's."""
    own: tuple[DatabaseUser, ...]
    """Whose databases are on it."""
    declared: tuple[DatabaseUser, ...]
    """Whose databases are on servers of the operator's."""


class ValkeyPlan(PlanPart):
    """What routers share."""

    spec: ValkeySpec
    """How it is declared."""
    host: str | None
    """Where the server runs; ``None`` if it is one of the operator's."""


class EntryPlan(PlanPart):
    """Where the entry runs, and what people type to get there."""

    host: str
    """Name of the host."""
    spec: EntrySpec
    """How it is declared."""
    names: tuple[str, ...]
    """DNS names and addresses that it has a certificate for."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Addresses that people type, the one that Atelier shows first."""
        port = self.spec.https_port
        return tuple(
            f"https://{bracketed(name) if port == HTTPS_PORT else host_and_port(name, port)}"
            for name in self.names
        )


class DeploymentPlan(PlanPart):
    """What runs where."""

    name: str
    """Name of the deployment."""
    replicas: tuple[ReplicaPlan, ...]
    """Every replica of every model."""
    router: RouterPlan
    """The router."""
    web_ui: WebUIPlan | None
    """The web UI, if there is one."""
    postgres: PostgresPlan | None = None
    """The databases, if there are any."""
    valkey: ValkeyPlan | None = None
    """What routers share, if they do."""
    people: PeoplePlan | None = None
    """Who has keys; ``None`` of a router without a database, which has the master key alone."""
    entry: EntryPlan | None = None
    """The entry, if there is one."""
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
        return tuple(r for r in self.replicas if r.host == host and index in r.gpus)
