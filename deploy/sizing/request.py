"""What sizing is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deploy.catalog.architecture import Architecture
from deploy.sizing.device import Device
from deploy.sizing.fit import Fit
from deploy.sizing.overhead import Overhead
from deploy.sizing.reasons import Reason
from deploy.sizing.release import DEFAULT_VERSION
from deploy.sizing.speculation import Speculation
from deploy.spec.engine_kinds import EngineKind

READING_TOKENS_PER_SECOND = 10.0
"""About the speed people read at: slower than this is no service."""


@dataclass(frozen=True)
class SizingRequest:
    """One model on given GPUs."""

    model: Architecture
    devices: tuple[Device, ...]
    engine: EngineKind = "vllm"
    name: str = "config.json"
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    gpu_memory_utilization: float = 0.9
    max_model_len: int | None = None
    dtype: str | None = None
    quantization: str | None = None
    """``None`` takes what config.json says."""
    kv_cache_dtype: str = "auto"
    users: int | None = None
    context_tokens: int | None = None
    weights_gib: float | None = None
    """Size of the weights on disk, where it is known."""
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    engine_version: str = DEFAULT_VERSION
    enforce_eager: bool = False
    """Whether no CUDA graphs are captured; the speed is that with graphs."""
    speculation: Speculation | None = None
    """How tokens are drafted, if they are."""
    data_parallel_size: int = 1
    """Ranks with attention of their own that share the experts out; of a model without experts
    they are replicas."""
    enable_expert_parallel: bool = False
    """Whether GPUs keep whole experts in place of a slice of each."""
    language_model_only: bool = False
    """Whether no images are served: their encoder is not profiled then."""
    lora_slots: int = 0
    """LoRA adapters that are kept at once (``--max-loras``)."""
    lora_rank: int = 16
    """The largest rank of an adapter (``--max-lora-rank``)."""
    enable_prefix_caching: bool = False
    """Of models with a state, for which vLLM leaves it off unless asked: states of prefixes are
    kept too. Others lose nothing by it."""
    flash_attention: bool | None = None
    """Of llama.cpp and Ollama; ``None`` takes Ollama's own default for the model."""
    split_mode: str = "layer"
    """Of llama.cpp: whether GPUs have a ``layer`` each, or a ``row`` of every layer."""
    tensor_split: tuple[float, ...] = ()
    """Of llama.cpp: the part of each GPU; by their memory where there are none."""
    prompt_per_output: float = 0.0
    """New tokens of prompts read for each token written: what reading them costs all others."""
    pace: float = READING_TOKENS_PER_SECOND
    """Tokens a second that each user needs."""
    plain_splits: bool = False
    """Whether only what operators run is tried: powers of two, a pipeline only where one must."""


@dataclass(frozen=True)
class Rejected:
    """An arrangement that was not chosen."""

    tensor_parallel_size: int
    pipeline_parallel_size: int
    reason: Reason


@dataclass(frozen=True)
class Sizing:
    """What one model does on given GPUs."""

    supported: bool
    """Whether the engine runs it on this hardware, and its memory can be worked out."""
    fits: Fit
    """Whether it starts, with ``max_model_len`` tokens of context."""
    reasons: tuple[Reason, ...]
    """Why not, each with figures and ways out; or why this arrangement."""
    model: str
    engine: str
    gpus: tuple[str, ...]
    warnings: tuple[Reason, ...] = ()
    """What works, but not as one may expect."""
    engine_version: str = DEFAULT_VERSION
    writes: bool = True
    """Whether it writes text, which encoders do not."""
    parameters_billion: float = 0.0
    active_parameters_billion: float = 0.0
    dtype: str = ""
    quantization: str = ""
    kv_cache_dtype: str = ""
    replicas: int = 0
    """Engines of this arrangement that the GPUs hold."""
    tensor_parallel_size: int = 0
    pipeline_parallel_size: int = 0
    data_parallel_size: int = 1
    """Ranks of a replica that share its experts out."""
    legal_tensor_parallel_sizes: tuple[int, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    gpu_memory_utilization: float = 0.0
    usable_gib_per_gpu: float = 0.0
    weights_gib_per_gpu: float = 0.0
    overhead: Overhead = field(default_factory=lambda: Overhead(0.0, 0.0, 0.0))
    kv_cache_gib_per_gpu: float = 0.0
    least_kv_cache_gib_per_gpu: float = 0.0
    """The same on the pessimistic side."""
    pinned_kv_cache_bytes_per_gpu: int = 0
    """The pool to pin in a deployment, so that what was planned is what starts."""
    kv_cache_tokens: int = 0
    """Tokens that one replica keeps."""
    kv_cache_bytes_per_token_per_gpu: float = 0.0
    max_model_len: int = 0
    max_model_len_that_fits: int = 0
    context_tokens: int = 0
    users: int | None = None
    concurrent_users: int = 0
    """Requests of ``context_tokens`` that are answered at once, by all replicas."""
    max_num_seqs: int = 0
    max_num_batched_tokens: int = 0
    tokens_per_second_per_user: float = 0.0
    tokens_per_second: float = 0.0
    prefill_tokens_per_second: float = 0.0
    at_the_limit: Reason | None = None
    """What happens when more is asked."""
    details: dict[str, Any] = field(default_factory=dict)
    """Figures that only one engine has."""

    @property
    def overhead_gib_per_gpu(self) -> float:
        """Everything apart from weights and KV cache."""
        return self.overhead.total_gib
