"""What a model does for so many users on given hardware, or why it will not do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from deploy.catalog import Catalog
from deploy.cost import eur_per_million_tokens, eur_per_user
from deploy.recommend.candidates import Candidate
from deploy.recommend.hardware import OLLAMA_USERS, Hardware
from deploy.recommend.request import RecommendRequest, counted
from deploy.recommend.second_model import leave_room
from deploy.sizing import Device, Fit, Sizing, SizingRequest, device_of, size_gguf, size_model
from deploy.sizing.kv_cache import KvSettings, kv_layout
from deploy.sizing.reasons import ReasonKind
from deploy.sizing.reasons_text import cause_text
from deploy.units import GIB

MOST_SLOTS = 8
"""Slots that llama.cpp is considered with (OLLAMA_NUM_PARALLEL)."""
COMPLETION_TOKENS = 32
"""Tokens of a completion: a line or two."""
COMPLETION_SECONDS = 0.7
"""A completion that comes later is not looked at any more."""
BYTES_PER_PARAMETER = {"none": 2.0, "fp8": 1.0}
UNMEASURED_VENDORS = {"amd"}
"""No published speed of theirs was compared with an estimate."""


@dataclass(frozen=True, eq=False)
class Option:
    """A model on hardware, and what users get."""

    hardware: Hardware
    candidate: Candidate
    sizing: Sizing
    """Of one machine."""
    users: int
    """Asked for."""
    users_served: int
    """At once, each at the pace of the work, by all machines."""
    tokens_per_second_per_user: float
    """With all the users at once."""
    completion_seconds: float | None
    """Until a completion is there, with all the users at once; ``None`` where unknown."""
    is_measured: bool = True
    """Whether published speeds of such GPUs were compared with the estimate."""

    @property
    def tokens_per_second(self) -> float:
        """Of all users together."""
        return self.tokens_per_second_per_user * self.users

    @property
    def strength(self) -> float:
        """Of the model, in points."""
        return self.candidate.strength

    @property
    def eur_per_month(self) -> float | None:
        """All costs; ``None`` where a price is not known."""
        return self.hardware.eur_per_month

    @property
    def eur_per_user_per_month(self) -> float | None:
        """The same over the users; ``None`` where a price is not known."""
        return None if self.eur_per_month is None else eur_per_user(self.eur_per_month, self.users)

    def eur_per_million_tokens(self, utilization: float) -> float | None:
        """EUR per million tokens, at full load that share of the time."""
        if self.eur_per_month is None:
            return None
        return eur_per_million_tokens(self.eur_per_month, self.tokens_per_second, utilization)


@dataclass(frozen=True)
class Loss:
    """Why a model on hardware will not do."""

    reason: str
    users_served: int = 0
    weights_fit: bool = True
    """Whether memory could hold its weights."""


def room(hardware: Hardware, candidate: Candidate, context_tokens: int, catalog: Catalog) -> int:
    """Requests that memory holds at the very most: all of it for weights and an FP8 cache."""
    usable = sum(catalog.gpus[gpu].usable_memory_gib or 0.0 for gpu in hardware.gpus)
    left = usable - _weights_gib(candidate)
    return max(int(left / _request_gib(candidate, context_tokens)), 0) * hardware.machines


@lru_cache(maxsize=1024)
def _request_gib(candidate: Candidate, context_tokens: int) -> float:
    model = candidate.declared.architecture
    layout = kv_layout(model, range(len(model.layers)), KvSettings(kv_dtype="fp8"))
    return layout.request_blocks(context_tokens) * layout.block_bytes / GIB


def evaluate(
    hardware: Hardware, candidate: Candidate, request: RecommendRequest, catalog: Catalog
) -> Option | Loss:
    """Size a model on one machine for its share of the users.

    With vLLM, the KV cache is kept in FP8 only where that is what it takes to serve all, and the
    GPUs compute in it.
    """
    devices = tuple(device_of(gpu, catalog.gpus[gpu]) for gpu in hardware.gpus)
    if request.with_completion:
        users = -(-request.users // hardware.machines)
        devices = leave_room(devices, users, candidate.engine, catalog)
    found = _evaluate(hardware, candidate, request, devices)
    if isinstance(found, Option) and devices[0].vendor in UNMEASURED_VENDORS:
        return replace(found, is_measured=False)
    return found


def _evaluate(
    hardware: Hardware,
    candidate: Candidate,
    request: RecommendRequest,
    devices: tuple[Device, ...],
) -> Option | Loss:
    usable = sum(device.usable_gib for device in devices)
    weights = _weights_gib(candidate)
    if weights > usable:
        text = f"{weights:.0f} GiB of weights, {usable:.0f} GiB of memory"
        return Loss(text, weights_fit=False)
    limit = candidate.declared.architecture.max_position_embeddings
    if request.context > limit:
        return Loss(f"made for {limit} tokens of context, asked for are {request.context}")
    if candidate.engine == "ollama":
        return _with_ollama(hardware, candidate, request, devices)
    if candidate.converted and not all(device.supports_fp8 for device in devices):
        return Loss("these GPUs do not compute in FP8")
    found = _with_vllm(hardware, candidate, request, devices, "auto")
    can = all(device.supports_fp8 and device.vendor == "nvidia" for device in devices)
    if isinstance(found, Option) or not can or found.users_served == 0:
        return found
    better = _with_vllm(hardware, candidate, request, devices, "fp8")
    return better if isinstance(better, Option) else max(found, better, key=_served)


def _served(loss: Loss) -> int:
    return loss.users_served


def _weights_gib(candidate: Candidate) -> float:
    if candidate.declared.weights_gib:
        return candidate.declared.weights_gib
    per_parameter = BYTES_PER_PARAMETER.get(candidate.quantization, 0.5)
    return candidate.parameters_billion * 1e9 * per_parameter / GIB


def _request(
    candidate: Candidate, request: RecommendRequest, devices: tuple[Device, ...], users: int
) -> SizingRequest:
    return SizingRequest(
        model=candidate.declared.architecture,
        devices=devices,
        engine=candidate.engine,
        name=candidate.model,
        quantization=candidate.quantization,
        users=users,
        context_tokens=request.context,
        weights_gib=candidate.declared.weights_gib,
        flash_attention=True,
        prompt_per_output=request.needs.prompt_per_output,
        pace=request.needs.pace,
        plain_splits=True,
    )


def _with_vllm(
    hardware: Hardware,
    candidate: Candidate,
    request: RecommendRequest,
    devices: tuple[Device, ...],
    kv_cache_dtype: str,
) -> Option | Loss:
    users = -(-request.users // hardware.machines)
    asked = _request(candidate, request, devices, users)
    sizing = size_model(replace(asked, kv_cache_dtype=kv_cache_dtype))
    emulated = [one for one in sizing.warnings if one.kind is ReasonKind.NO_NATIVE_KERNELS]
    if emulated:
        return Loss(cause_text(emulated[0]))
    if sizing.fits is not Fit.YES:
        return Loss(_short(sizing))
    served = int(sizing.details["users_at_reading_speed"]) * hardware.machines
    return _judged(hardware, candidate, request, sizing, served)


def _with_ollama(
    hardware: Hardware,
    candidate: Candidate,
    request: RecommendRequest,
    devices: tuple[Device, ...],
) -> Option | Loss:
    if len({device.vendor for device in devices}) > 1:
        return Loss("GPUs of several vendors do not serve one engine together")
    if request.users > OLLAMA_USERS and devices[0].vendor != "apple":
        return Loss(f"llama.cpp is for up to {OLLAMA_USERS} users: vLLM serves more together")
    served = 0
    for slots in range(1, MOST_SLOTS + 1):
        sizing = size_gguf(_request(candidate, request, devices, slots))
        if sizing.fits is not Fit.YES or sizing.tokens_per_second_per_user < request.needs.pace:
            break
        served = slots
    users = min(request.users, MOST_SLOTS)
    sizing = size_gguf(_request(candidate, request, devices, users))
    if not served:
        return Loss(_slow(sizing) if sizing.fits is Fit.YES else _short(sizing))
    return _judged(hardware, candidate, request, sizing, served)


def _judged(
    hardware: Hardware,
    candidate: Candidate,
    request: RecommendRequest,
    sizing: Sizing,
    served: int,
) -> Option | Loss:
    if served < request.users:
        text = f"serves {served} of {counted(request.users)} at {request.needs.pace:g} tokens/s"
        return Loss(text, served)
    seconds = completion_seconds(sizing, request.context)
    if request.role == "completion" and seconds is not None and seconds > COMPLETION_SECONDS:
        return Loss(f"a completion takes {seconds:.1f} s, accepted are {COMPLETION_SECONDS} s")
    speed = sizing.tokens_per_second_per_user
    return Option(
        hardware=hardware,
        candidate=candidate,
        sizing=sizing,
        users=request.users,
        users_served=served,
        tokens_per_second_per_user=speed,
        completion_seconds=seconds,
    )


def completion_seconds(sizing: Sizing, context_tokens: int) -> float | None:
    """Time to read a prompt and write a completion; ``None`` where the compute is not known."""
    if sizing.prefill_tokens_per_second <= 0 or sizing.tokens_per_second_per_user <= 0:
        return None
    prefill = sizing.prefill_tokens_per_second / max(sizing.replicas, 1)
    return context_tokens / prefill + COMPLETION_TOKENS / sizing.tokens_per_second_per_user


def _slow(sizing: Sizing) -> str:
    return f"{sizing.tokens_per_second_per_user:.1f} tokens/s: too slow for that work"


def _short(sizing: Sizing) -> str:
    """The first reason, without the ways out that options of another verb offer."""
    unsure = [one for one in sizing.warnings if one.kind is ReasonKind.PROBABLY]
    reasons = (*unsure, *sizing.reasons)
    return cause_text(reasons[0]) if reasons else "does not fit for sure"
