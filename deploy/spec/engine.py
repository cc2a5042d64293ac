"""The engine that runs the models."""

from __future__ import annotations

import re
from math import inf
from typing import Literal

from pydantic import ByteSize, Field, ValidationInfo, field_validator

from deploy.errors import either
from deploy.spec.base import NAME, HostPath, Line, MemoryLimit, Spec, refusal
from deploy.spec.engine_kinds import ENGINES, EngineKind, EngineTraits
from deploy.spec.engine_settings import (
    KV_CACHE_DTYPES,
    OWN_SETTINGS,
    OWN_VARIABLES,
    QUANTISED_CACHES,
)
from deploy.spec.secrets import EnvironmentValue, refuse_own_variables, refuse_plain_secrets
from deploy.units import GIB

KvCacheDtype = Literal["auto", "fp8", "f16", "q8_0", "q4_0"]
CPUS = r"\d+(-\d+)?(,\d+(-\d+)?)*"
THREADS_BIND = re.compile(rf"auto|nobind|{CPUS}(\|{CPUS})*")
DURATION = re.compile(r"-1|0|(\d+(\.\d+)?[smh])+")
MOST_PARTS = 16
"""GPUs that llama.cpp serves one model on, at most (``GGML_CUDA_MAX_DEVICES``)."""
LEAST_HANG_SECONDS = 10
"""Less is what a busy engine takes for a step."""


class EngineSpec(Spec):
    """How models are served. Settings have the engine's own names; others are refused."""

    kind: EngineKind = "llama_cpp"
    """Which engine: ``llama_cpp``, ``ollama`` and ``vllm`` on GPUs, or on CPUs where no host has
    GPUs; ``sglang`` on GPUs, ``tensorrt_llm`` on NVIDIA's. ``tgi``, on GPUs, is archived
    upstream."""
    max_num_seqs: int | None = Field(default=None, ge=1, le=4096)
    """Requests answered at the same time by one replica; 2 unless set, with vLLM its default, with
    SGLang 256, with TGI and TensorRT-LLM 128."""
    max_model_len: int | None = Field(default=None, ge=256, le=10_000_000)
    """Context length in tokens of models that declare none."""
    quantization: Line | None = None
    """How the weights are kept, of models that declare nothing, e.g. ``awq`` or ``q4_k_m``."""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """llama.cpp: CPU threads for generation; all cores by default."""
    n_gpu_layers: Literal["all", 0] = "all"
    """llama.cpp: ``all`` layers are on GPUs where a host has any; with 0 the model is served on
    CPUs."""
    backend: Literal["auto", "vulkan"] = "auto"
    """llama.cpp on GPUs: ``auto`` takes CUDA on NVIDIA's cards and ROCm on AMD's; ``vulkan`` is for
    AMD's cards that ROCm does not serve well."""
    split_mode: Literal["layer", "row"] = "layer"
    """llama.cpp on several GPUs: with ``layer`` each layer and its cache are on one GPU; with
    ``row`` each GPU has rows of every layer, and the first one has the whole cache."""
    tensor_split: tuple[float, ...] = ()
    """llama.cpp: the parts of the model that its GPUs have, e.g. ``(3, 1)`` for two GPUs; by
    default as few GPUs as hold it, with equal parts."""
    flash_attn: Literal["auto", "on", "off"] = "auto"
    """llama.cpp, Ollama: attention that keeps no matrix over the whole context; by default on where
    the model and its GPUs can."""
    tensor_parallel_size: int | None = Field(default=None, ge=1, le=64)
    """vLLM, SGLang, TensorRT-LLM, TGI: GPUs that share each layer of one replica, the best by
    default; on CPUs processes, one by default."""
    pipeline_parallel_size: int | None = Field(default=None, ge=1, le=64)
    """vLLM, SGLang, TensorRT-LLM: groups of GPUs that share the layers of one replica out; the best
    by default."""
    nnodes: int = Field(default=1, ge=1, le=16)
    """vLLM: how many hosts one replica runs on, with all of their GPUs, for a model that is too
    large for one of them: each has some of the layers. The hosts must be alike, and serve nothing
    else."""
    master_port: int = Field(default=29501, ge=1024, le=65000)
    """vLLM: port of the first host, where the hosts of a replica meet; a second replica takes the
    next port."""
    gpu_memory_utilization: float = Field(default=0.9, ge=0.05, le=0.99)
    """Share of each GPU's memory that vLLM, SGLang, TensorRT-LLM or TGI take; engines that share a
    GPU take it together. What engines other than vLLM are told follows from it: docs/sizing.md."""
    max_num_batched_tokens: int | None = Field(default=None, ge=256, le=1_000_000)
    """vLLM, SGLang, TensorRT-LLM, TGI: tokens of one step; the engine's default unless set."""
    scheduling_policy: Literal["fcfs", "priority"] = "fcfs"
    """vLLM, SGLang: which of the requests that wait is answered first: the oldest one (``fcfs``),
    or the one with ``priority``: completions first, unless ``router.priorities`` says otherwise."""
    kv_cache_dtype: KvCacheDtype = "auto"
    """How the KV cache is kept: vLLM and SGLang ``auto`` or ``fp8``, llama.cpp and Ollama ``f16``,
    ``q8_0`` or ``q4_0``."""
    keep_alive: str = "-1"
    """Ollama: how long a model stays loaded without requests, e.g. ``30m``; for ever by default, in
    a shared Ollama until another model needs its place."""
    shared: str | None = None
    """Ollama: name of an Ollama that serves every model which is declared with it: it loads models
    when they are asked for, and unloads others for them. By default each model has one of its
    own."""
    max_loaded_models: int = Field(default=1, ge=1, le=64)
    """Ollama: how many models a shared one has loaded at a time; memory is planned for so many, the
    largest."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """vLLM, SGLang: type of what is not quantised; what the model and the GPU allow by default."""
    shm_size: ByteSize = ByteSize(8 * GIB)
    """vLLM, SGLang, TensorRT-LLM, TGI: shared memory of its processes, e.g. ``8GiB``."""
    ipc: Literal["private", "host"] = "private"
    """vLLM, SGLang, TensorRT-LLM, TGI: ``host`` shares the host's shared memory instead."""
    huggingface_cache: HostPath | None = None
    """vLLM, SGLang, TensorRT-LLM, TGI: directory of the host with the Hugging Face cache, e.g. on
    NFS; by default below the host's directory, for all deployments there."""
    offline: bool = False
    """vLLM, SGLang, TensorRT-LLM, TGI: nothing is fetched from Hugging Face; the weights must be in
    the cache on the host."""
    block_size: int | None = Field(default=None, ge=16, le=1024, multiple_of=16)
    """vLLM: tokens of a block of the KV cache; vLLM's default on GPUs, 128 on CPUs."""
    enforce_eager: bool = False
    """vLLM, SGLang: nothing is compiled and no CUDA graphs are recorded: a quick start, slower
    answers."""
    enable_expert_parallel: bool = False
    """vLLM, SGLang, TensorRT-LLM: GPUs that share the layers of a mixture of experts keep whole
    experts, not slices."""
    cpu_kvcache_space: int | None = Field(default=None, ge=1, le=4096)
    """vLLM on CPUs: GiB of KV cache of each process; what the requests need by default."""
    cpu_omp_threads_bind: str | None = None
    """vLLM on CPUs: cores of each process, e.g. ``0-31|32-63``, ``auto`` (a NUMA node for each) or
    ``nobind``; by default ``auto`` for one process and ``nobind`` for several."""
    port: int = Field(default=8000, ge=1024, le=65000)
    """First port of the host that engines without a container, and those on several hosts, listen
    on; others need none."""
    trusted_network: bool = False
    """vLLM on several hosts: says that only trusted machines are in the network of these hosts,
    where messages have no key and no encryption. On macOS: the same, and the engine listens in that
    network, without a link."""
    memory_limit: MemoryLimit | None = None
    """Memory limit of one replica, e.g. ``8GiB``; derived from the model's size by default."""
    start_timeout_seconds: int = Field(default=600, ge=5, le=7200)
    """How long a replica may take until it is healthy."""
    drain_seconds: int = Field(default=120, ge=0, le=7200)
    """How long answers that have begun may go on before a replica is replaced; meanwhile new
    requests go to other replicas, or wait for this one at the router."""
    hang_seconds: int | None = Field(default=None, ge=0, le=7200)
    """vLLM, SGLang: after how long without progress, while somebody waits for an answer, it is
    restarted; 0 for never. By default 45 for vLLM on GPUs, 300 on a CPU, 300 for SGLang."""
    env: dict[str, EnvironmentValue] = Field(default_factory=dict)
    """Environment variables added to the container; secrets as ``Secret(...)``."""
    extra_args: tuple[str, ...] = ()
    """Arguments added to the engine's command line."""

    @property
    def traits(self) -> EngineTraits:
        """What the engine is."""
        return ENGINES[self.kind]

    @property
    def most_loaded(self) -> int:
        """Models that one process of it has in memory at a time, at most."""
        return self.max_loaded_models if self.shared else 1

    @field_validator(*OWN_SETTINGS)
    @classmethod
    def _belongs_to_the_engine(cls, value: object, info: ValidationInfo) -> object:
        kind, name = info.data.get("kind"), str(info.field_name)
        owners = OWN_SETTINGS[name]
        is_default = value == cls.model_fields[name].default
        if kind and kind not in owners and not is_default:
            raise refusal(
                f"{kind} has no such setting",
                f"only with engine kind {either(owners)}",
                f"remove {name}, or declare kind={owners[-1]!r}",
            )
        return value

    @field_validator("kv_cache_dtype")
    @classmethod
    def _cache_is_kept_as_the_engine_can(cls, dtype: str, info: ValidationInfo) -> str:
        kind = str(info.data.get("kind"))
        allowed = KV_CACHE_DTYPES.get(kind, ())
        if allowed and dtype not in allowed:
            raise refusal(f"{kind} knows no {dtype!r}", ", ".join(allowed))
        if dtype in QUANTISED_CACHES and info.data.get("flash_attn") == "off":
            found = f"{dtype!r}, which {kind} reads only with flash attention"
            raise refusal(found, "auto or f16 with flash_attn='off'", "remove flash_attn")
        return dtype

    @field_validator("backend", "split_mode", "tensor_split")
    @classmethod
    def _layers_are_on_gpus(cls, value: object, info: ValidationInfo) -> object:
        name = str(info.field_name)
        is_default = value == cls.model_fields[name].default
        if info.data.get("n_gpu_layers") == 0 and not is_default:
            found = "declared, and with n_gpu_layers=0 no layer is on a GPU"
            raise refusal(found, "with n_gpu_layers='all'", f"remove {name} or n_gpu_layers")
        return value

    @field_validator("split_mode")
    @classmethod
    def _vulkan_shares_no_rows(cls, mode: str, info: ValidationInfo) -> str:
        if mode == "row" and info.data.get("backend") == "vulkan":
            raise refusal("'row': llama.cpp's Vulkan has no such split", "'layer' with Vulkan")
        return mode

    @field_validator("tensor_split")
    @classmethod
    def _parts_are_shares(cls, parts: tuple[float, ...]) -> tuple[float, ...]:
        if parts and not (2 <= len(parts) <= MOST_PARTS and all(0 < part < inf for part in parts)):
            found = ", ".join(f"{part:g}" for part in parts)
            raise refusal(found, f"2 to {MOST_PARTS} numbers above 0, one for each GPU")
        return parts

    @field_validator("hang_seconds")
    @classmethod
    def _a_step_takes_its_time(cls, seconds: int | None) -> int | None:
        if seconds is not None and 0 < seconds < LEAST_HANG_SECONDS:
            raise refusal(str(seconds), f"{LEAST_HANG_SECONDS} to 7200, or 0 for never")
        return seconds

    @field_validator("keep_alive")
    @classmethod
    def _keep_alive_is_a_duration(cls, text: str) -> str:
        if not DURATION.fullmatch(text):
            raise refusal(repr(text), "a duration such as '30m' or '24h', or '-1' for ever")
        return text

    @field_validator("shared")
    @classmethod
    def _shared_is_a_name(cls, name: str | None) -> str | None:
        if name is not None and not NAME.fullmatch(name):
            raise refusal(repr(name), "lower-case letters, digits, dots and hyphens")
        return name

    @field_validator("cpu_omp_threads_bind")
    @classmethod
    def _threads_are_bound_to_cores(cls, text: str | None) -> str | None:
        if text is not None and not THREADS_BIND.fullmatch(text):
            allowed = "'auto', 'nobind', or the cores of each process such as '0-31|32-63'"
            raise refusal(repr(text), allowed)
        return text

    @field_validator("env")
    @classmethod
    def _env_is_the_operators(cls, env: dict[str, EnvironmentValue]) -> dict[str, EnvironmentValue]:
        return refuse_plain_secrets(refuse_own_variables(env, OWN_VARIABLES))
