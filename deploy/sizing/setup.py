"""What is asked and known before a model is split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from deploy.catalog.architecture import Architecture
from deploy.catalog.decoder_sizes import DTYPES
from deploy.catalog.experts import ExpertSplit
from deploy.catalog.quantization import BY_NAME, Quantization
from deploy.errors import PlanError, Problem
from deploy.sizing import sglang, sglang_models, tensorrt_llm, tensorrt_llm_models, tgi
from deploy.sizing.device import Device, weakest
from deploy.sizing.overhead import Batch, default_batch
from deploy.sizing.precision import MXFP4_ALIGNMENT, Precision
from deploy.sizing.release import Release, release_for
from deploy.sizing.request import SizingRequest
from deploy.sizing.speculation import mtp_file_bytes
from deploy.sizing.splits import legal_splits
from deploy.sizing.weights import file_bytes
from deploy.units import GIB

UNKNOWN_WEIGHTS = 0.06
"""Qwen3.8-27B in NVFP4 is 10.2 GiB on each of two GPUs as NVIDIA made it, 9.7 with every layer."""
USUAL_UTILIZATION = 0.9
"""The share of the memory that engines take together where nothing else is said."""


@dataclass(frozen=True)
class Setup:
    """What all arrangements of a request share."""

    request: SizingRequest
    model: Architecture
    precision: Precision
    device: Device
    release: Release
    kv_dtype: str

    @property
    def is_sglang(self) -> bool:
        """Whether SGLang serves it, and not vLLM."""
        return self.request.engine == "sglang"

    @property
    def budget_gib(self) -> float:
        """Memory that the engine may use on each GPU."""
        return self.device.usable_gib * self.request.gpu_memory_utilization

    @property
    def headroom_gib(self) -> float:
        """Memory that no engine takes, at most a tenth: engines that share a GPU share it too."""
        taken = max(self.request.gpu_memory_utilization, USUAL_UTILIZATION)
        return self.device.usable_gib * (1 - taken)

    @property
    def query_tokens(self) -> int:
        """Tokens of a decoding request in one step, those drafted included."""
        return 1 + (self.request.speculation.tokens if self.request.speculation else 0)

    @property
    def expert_ranks(self) -> int:
        """Ranks with attention of their own that share the experts; 1 of models without."""
        return self.request.data_parallel_size if self.model.moe else 1

    @property
    def legal_splits(self) -> tuple[int, ...]:
        """Every legal ``tensor_parallel_size``, up to 16 GPUs."""
        request, scheme = self.request, self.precision.quantization
        whole = request.enable_expert_parallel
        return legal_splits(request.engine, self.model, scheme, whole_experts=whole)

    @property
    def window_share(self) -> float:
        """Tokens of a pool of sliding layers' own for each of the others; 0 where vLLM shares."""
        if self.request.engine == "sglang":
            return sglang_models.window_share(self.model)
        return 1.0 if self.request.engine == "tensorrt_llm" else 0.0

    def expert_split(self, tp: int) -> ExpertSplit:
        """How the GPUs of a replica whose layers ``tp`` of them share have its experts."""
        gpus = tp * self.expert_ranks
        return ExpertSplit(1, gpus) if self.request.enable_expert_parallel else ExpertSplit(gpus, 1)

    def _default_batch(self, wanted: int) -> Batch:
        match self.request.engine:
            case "sglang":
                return sglang.default_batch(self.device)
            case "tensorrt_llm":
                return tensorrt_llm.default_batch()
            case "tgi":
                return tgi.default_batch()
        return default_batch(self.device, self.release, wanted)

    @cached_property
    def batch(self) -> Batch:
        """What one step may hold."""
        wanted = self.request.max_model_len or self.model.max_position_embeddings
        default = self._default_batch(wanted)
        # an encoder reads a text in one step
        least = 0 if self.model.keeps_tokens else wanted
        return Batch(
            self.request.max_num_batched_tokens or max(default.max_num_batched_tokens, least),
            self.request.max_num_seqs or default.max_num_seqs,
        )

    @property
    def weights_uncertainty(self) -> float:
        """By which share published weights were larger than ours: kernels pad and keep workspaces.

        Who makes 4-bit weights of a model leaves other layers in 8 or 16 bits each time (attention,
        gated delta nets): where neither their size nor their config.json is known, more.
        """
        method = self.precision.quantization.method
        is_known = self.request.weights_gib is not None or method == self.model.quantization.method
        if self.precision.quantization.bits == 4 and not is_known:
            return UNKNOWN_WEIGHTS
        return 0.025 if method == "mxfp4" else 0.01

    @property
    def weights_scale(self) -> float:
        """The real size of the weights over the computed one."""
        if self.request.weights_gib is None:
            return 1.0
        model, precision = self.model, self.precision
        computed = file_bytes(model, precision) + mtp_file_bytes(model, precision)
        return self.request.weights_gib * GIB / computed


def make_setup(request: SizingRequest) -> Setup:
    """What all arrangements of a request share."""
    device = weakest(request.devices)
    dtype = _dtype(request, device)
    precision = Precision(dtype, _quantization(request), _mxfp4_alignment(request, device))
    kv_dtype = _kv_dtype(request, device, dtype)
    own = {
        "sglang": sglang.RELEASE,
        "tensorrt_llm": tensorrt_llm.RELEASE,
        "tgi": tgi.RELEASE,
    }
    release = own.get(request.engine) or release_for(request.model, request.engine_version)
    return Setup(request, request.model, precision, device, release, kv_dtype)


def _mxfp4_alignment(request: SizingRequest, device: Device) -> tuple[int, int]:
    if request.engine == "sglang":
        return sglang_models.mxfp4_alignment(device)
    if request.engine == "tensorrt_llm":
        return tensorrt_llm_models.MXFP4_ALIGNMENT
    return MXFP4_ALIGNMENT, 1 if device.is_hopper_or_later else MXFP4_ALIGNMENT


def _kv_dtype(request: SizingRequest, device: Device, dtype: str) -> str:
    if request.kv_cache_dtype != "auto":
        return "fp8"
    if request.engine == "sglang":
        return sglang_models.kv_dtype(request.model, device, dtype)
    return dtype


def _dtype(request: SizingRequest, device: Device) -> str:
    """The engine's "auto": 16 bits for models published in 32, float16 where bfloat16 is not."""
    if request.dtype is not None:
        return DTYPES[request.dtype]
    dtype = "bfloat16" if request.model.dtype == "float32" else request.model.dtype
    old = (0, 0) < device.compute_capability < (8, 0)
    return "float16" if dtype == "bfloat16" and old else dtype


def _quantization(request: SizingRequest) -> Quantization:
    declared = request.model.quantization
    if request.quantization is None or request.quantization == declared.method:
        return declared
    if request.quantization not in BY_NAME:
        allowed = ", ".join(BY_NAME)
        raise PlanError(Problem("quantization", repr(request.quantization), allowed))
    return BY_NAME[request.quantization]
