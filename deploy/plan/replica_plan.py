"""What a plan says of a replica: one engine that serves one model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deploy.model_files import ModelFile
from deploy.plan.part import PlanPart
from deploy.spec import EngineSpec


class MemoryPlan(PlanPart):
    """What a replica takes of each of its GPUs; of a pipeline, of the tightest stage's."""

    weights_gib: float
    """Weights."""
    overhead_gib: float
    """Activations, CUDA graphs, the engine itself."""
    kv_cache_gib: float
    """KV cache."""

    pinned_kv_cache_bytes: int = 0
    """The pool that vLLM is told to allocate; 0 where it is told something else, or nothing."""

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


class LlamaCppPlan(PlanPart):
    """What llama.cpp is told of GPUs."""

    flash_attention: bool
    """Whether attention keeps no matrix over the whole context."""


class SglangPlan(PlanPart):
    """What SGLang is told of a GPU's memory."""

    mem_fraction_static: float
    """Share of what is free at first that weights and KV cache have together."""
    chunked_prefill_size: int
    """Tokens of one step."""
    graphed_requests: int
    """The largest batch that is decoded with a CUDA graph."""
    fp4_gemm_backend: str = ""
    """Kernels of NVFP4 weights, where SGLang's own choice would not start."""
    max_mamba_cache_size: int = 0
    """Slots for states of requests; 0 of models without."""


class TensorRtLlmPlan(PlanPart):
    """What TensorRT-LLM is told of a GPU's memory."""

    free_gpu_memory_fraction: float
    """Share of what is free after a step that its KV cache may have."""
    max_tokens: int
    """Tokens that its KV cache may have at most."""
    max_num_tokens: int
    """Tokens of one step."""
    moe_backend: str = ""
    """Kernels of experts; empty where they are its default."""


class TgiPlan(PlanPart):
    """What TGI is told of a GPU's memory."""

    cuda_memory_fraction: float
    """Of which it takes nine tenths."""
    max_batch_prefill_tokens: int
    """Tokens of one step."""
    dtype: str
    """Type of weights that are not quantised; it would take float16."""
    quantization: str
    """How the weights are kept."""


class SpeculativePlan(PlanPart):
    """What vLLM or llama.cpp is told of speculative decoding."""

    method: str
    """How tokens are drafted."""
    num_speculative_tokens: int
    """How many at a time."""
    model: str | None = None
    """Repository of the draft."""
    revision: str | None = None
    """Commit of that repository, where it is pinned."""


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
    draft_file: ModelFile | None = None
    """The model that drafts tokens, where that is a file of this machine."""
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
    """Its GPUs, by their places in the host's ``gpu_ids``."""
    gpu_ids: tuple[str, ...] = ()
    """What they are called on the host."""
    gpu_vendor: str = ""
    """Who made them; empty on a CPU."""
    gpu_gfx: str = ""
    """Their instruction set, of AMD's."""
    tensor_parallel_size: int = 1
    """GPUs that share each layer."""
    pipeline_parallel_size: int = 1
    """Groups of GPUs that each have a part of the layers."""
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
    llama_cpp: LlamaCppPlan | None = None
    """llama.cpp on GPUs; ``None`` on CPUs, and of other engines."""
    sglang: SglangPlan | None = None
    """SGLang; ``None`` of other engines."""
    tensorrt_llm: TensorRtLlmPlan | None = None
    """TensorRT-LLM; ``None`` of other engines."""
    tgi: TgiPlan | None = None
    """TGI; ``None`` of other engines."""
    speculative: SpeculativePlan | None = None
    """What drafts its tokens."""
    language_model_only: bool = False
    """Whether it serves no images."""
    embeds: bool = False
    """Whether it makes embeddings, and no text."""
    reranks: bool = False
    """Whether it says how relevant documents are, and no text."""
    shows_prompts: bool = True
    """Whether its KV cache grows while it reads a prompt: layers keep every token."""
    tool_call_parser: str | None = None
    """vLLM: how it reads calls of tools."""
    reasoning_parser: str | None = None
    """vLLM: how it tells thoughts from answers."""
    lora_adapters: dict[str, str] = Field(default_factory=dict)
    """vLLM: where its adapters are, by the name that clients ask for."""
    max_lora_rank: int | None = None
    """vLLM: the largest rank of its adapters."""
    port: int | None = None
    """Port of the host that it listens on; only of those without a container, and on several
    hosts."""
    is_linked: bool = False
    """Whether routers on another host reach it through a link."""
    runs: Literal["container", "native"] = "container"
    """In a container, or as a service of its host."""
    other_hosts: tuple[str, ...] = ()
    """Hosts that it lies on, too: the same GPUs, other layers. Only the first is asked."""
    master_port: int | None = None
    """Port of the first host that they meet at."""

    @property
    def engine_name(self) -> str:
        """What its engine is called: like its model, or like the Ollama that it shares."""
        return self.engine.shared or self.model

    @property
    def writes(self) -> bool:
        """Whether it writes text."""
        return not (self.embeds or self.reranks)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host that it lies on; the place of each is its node rank."""
        return (self.host, *self.other_hosts)
