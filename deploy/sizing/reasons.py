"""Why something is as it is, as data: what it is about, its figures, and what to do.

Sentences are made of it in one place, deploy/sizing/reasons_text.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ReasonKind(StrEnum):
    """What a reason is about."""

    # why it cannot be worked out, or does not run
    DECLINED = "declined"
    MEMORY_UNKNOWN = "memory_unknown"
    ON_APPLE = "on_apple"
    ON_CPU = "on_cpu"
    CAPABILITY = "capability"
    NOT_MODELLED = "not_modelled"
    NOT_FOR_GFX = "not_for_gfx"
    NOT_ON_AMD = "not_on_amd"
    OTHER_MODEL = "other_model"
    OTHER_WEIGHTS = "other_weights"
    OTHER_CARD = "other_card"
    NO_BLOCKS = "no_blocks"
    OTHER_ROLE = "other_role"
    NO_WEIGHTS = "no_weights"
    NOT_DEPLOYED_ON = "not_deployed_on"
    NVIDIA_ALONE = "nvidia_alone"
    UNEVEN_STAGES = "uneven_stages"
    SEVERAL_VENDORS = "several_vendors"
    TOO_FEW_GPUS = "too_few_gpus"
    TOO_MANY_STAGES = "too_many_stages"
    ILLEGAL_SPLIT = "illegal_split"
    HEADS = "heads"
    KV_HEADS = "kv_heads"
    VOCABULARY = "vocabulary"
    INNER_SIZE = "inner_size"
    QUANTIZATION_GROUPS = "quantization_groups"
    UNEVEN_EXPERTS = "uneven_experts"
    UPCAST = "upcast"
    NO_MTP_LAYERS = "no_mtp_layers"
    STATES_DRAFTED = "states_drafted"
    OTHER_VOCABULARY = "other_vocabulary"
    DRAFT_OF_OTHER_SHAPE = "draft_of_other_shape"
    NO_EXPERTS = "no_experts"
    # why it does not fit
    MEMORY = "memory"
    LAYERS_ON_CPU = "layers_on_cpu"
    CACHE_NOT_READ = "cache_not_read"
    LOADED_TOGETHER = "loaded_together"
    BEYOND_MODEL = "beyond_model"
    CONTEXT_TOO_LONG = "context_too_long"
    STATE_BLOCKS = "state_blocks"
    # why this arrangement, or not that one
    CHOSEN = "chosen"
    DOES_NOT_FIT = "does_not_fit"
    FEWER_USERS = "fewer_users"
    PIPELINE_SLOWER = "pipeline_slower"
    NO_BETTER = "no_better"
    # what works, but not as one may expect
    GPUS_UNUSED = "gpus_unused"
    KINDS_UNUSED = "kinds_unused"
    KINDS_TOGETHER = "kinds_together"
    PROBABLY = "probably"
    PROBABLY_ON_GPU = "probably_on_gpu"
    OLD_RELEASE = "old_release"
    NOT_MEASURED = "not_measured"
    NO_FLASH_ATTENTION = "no_flash_attention"
    OLLAMA_CONTEXT = "ollama_context"
    USERS_WAIT = "users_wait"
    READS_ALONE = "reads_alone"
    NO_LINK = "no_link"
    OTHER_DTYPE = "other_dtype"
    OTHER_QUANTIZATION = "other_quantization"
    TAKES_IMAGES = "takes_images"
    ENCODER_UNKNOWN = "encoder_unknown"
    SLIDING_WINDOWS = "sliding_windows"
    STATE_LAYERS = "state_layers"
    STATE_SLOTS = "state_slots"
    DRAFTS = "drafts"
    AMD = "amd"
    NO_NATIVE_KERNELS = "no_native_kernels"
    FP8_WEIGHTS_ONLY = "fp8_weights_only"
    MARLIN = "marlin"
    FP8_CACHE_CONVERTED = "fp8_cache_converted"
    OLD_FOR_IMAGES = "old_for_images"
    # what happens to one request more
    QUEUE = "queue"
    WAITS = "waits"
    RESERVED = "reserved"
    SLOTS = "slots"


class RemedyKind(StrEnum):
    """What an operator can do."""

    SHORTER_CONTEXT = "shorter_context"
    LOWER_CONTEXT = "lower_context"
    SHORTER_STEPS = "shorter_steps"
    LOWER_MAX_NUM_SEQS = "lower_max_num_seqs"
    RAISE_MAX_MODEL_LEN = "raise_max_model_len"
    QUANTIZE = "quantize"
    SMALLER_QUANTIZATION = "smaller_quantization"
    OTHER_METHOD = "other_method"
    OTHER_DTYPE = "other_dtype"
    AUTO_KV_CACHE = "auto_kv_cache"
    FEWER_LOADED = "fewer_loaded"
    MORE_GPUS = "more_gpus"
    MORE_MEMORY = "more_memory"
    OTHER_GPUS_OR_MODEL = "other_gpus_or_model"
    RAISE_UTILIZATION = "raise_utilization"
    RAISE_SHARE = "raise_share"
    LEGAL_SPLIT = "legal_split"
    WHOLE_EXPERTS = "whole_experts"
    SLICED_EXPERTS = "sliced_experts"
    SPLIT_LESS = "split_less"
    COMPARE_PIPELINE = "compare_pipeline"
    SERVE_GGUF = "serve_gguf"
    USE_VLLM = "use_vllm"
    LANGUAGE_MODEL_ONLY = "language_model_only"
    OTHER_IMAGE = "other_image"


@dataclass(frozen=True)
class Remedy:
    """One way out."""

    kind: RemedyKind
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class Reason:
    """Why, with its figures and every way out."""

    kind: ReasonKind
    figures: Mapping[str, Any]
    remedies: tuple[Remedy, ...] = ()
    causes: tuple[Reason, ...] = ()
    """Reasons of which this one is made."""

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "kind": self.kind.value,
            "figures": dict(self.figures),
            "remedies": [
                {"kind": one.kind.value, "figures": dict(one.figures)} for one in self.remedies
            ],
            "causes": [cause.to_json() for cause in self.causes],
        }


def reason(
    kind: ReasonKind, *remedies: Remedy, causes: tuple[Reason, ...] = (), **figures: Any
) -> Reason:
    """A reason of a kind."""
    return Reason(kind, figures, remedies, causes)


def remedy(kind: RemedyKind, **figures: Any) -> Remedy:
    """A way out of a kind."""
    return Remedy(kind, figures)
