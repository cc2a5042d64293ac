"""Models that an inventory can name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from deploy.catalog.entry import DIRECTORY, Entry

Role = Literal["chat", "completion", "embedding", "rerank"]
Quantization = Literal[
    "none", "awq", "gptq", "fp8", "mxfp4", "nvfp4", "q4_0", "q4_k_m", "q5_k_m", "q8_0", "f16"
]
Benchmark = Literal["swe_bench_verified", "livecodebench_v6", "aider_polyglot"]
"""Benchmarks whose scores are kept: agents on real repositories, contest problems, edits."""
WeightFormat = Literal["safetensors", "gguf"]


class Origin(Entry):
    """Who made a model."""

    organisation: str
    """The organisation that published it."""
    country: str
    """Where it sits; ``international`` where several did it together."""


class FillInTheMiddle(Entry):
    """The tokens that ask a model for what stands between a prefix and a suffix."""

    prefix: str
    """Before the text that precedes the cursor."""
    suffix: str
    """Before the text that follows it."""
    middle: str
    """Where the completion begins; empty where the model needs no token for it."""
    suffix_first: bool = False
    """Whether the suffix comes before the prefix."""


class Variant(Entry):
    """One set of weight files of a model."""

    quantization: Quantization
    """How the weights are kept; ``none`` for the precision they were published in."""
    format: WeightFormat
    """``safetensors`` for vLLM, SGLang, TensorRT-LLM and TGI, ``gguf`` for llama.cpp and Ollama."""
    size_bytes: int | None
    """What the weight files hold, as published; ``None`` where that is not known."""
    huggingface: str | None
    """Repository on Hugging Face."""
    revision: str | None = None
    """Commit of that repository, where it is pinned."""
    ollama: str | None = None
    """Tag in Ollama's library."""
    group_size: int | None = None
    """Weights that share a scale (AWQ, GPTQ); it limits ``tensor_parallel_size``."""
    block_size: int | None = None
    """Rows and columns of the square blocks that share a scale (FP8); it limits it, too."""


class Score(Entry):
    """A score that somebody published."""

    percent: float = Field(ge=0, le=100)
    """Share of the tasks solved."""
    date: str = Field(pattern=r"^20\d\d(-\d\d(-\d\d)?)?$")
    """When it was published."""
    source: str = Field(min_length=1)
    """Where; ``vendor`` in it says that the model's makers measured it."""


class Model(Entry):
    """One model of the catalogue."""

    name: str
    """What its makers call it."""
    description: str = ""
    """What it is, where the name does not say it."""
    family: str
    """The models it belongs to."""
    year: int = Field(ge=2020, le=2100)
    """When it was published; of a tune of somebody else's model, when that one was."""
    made_for_code: bool = True
    """Whether it was trained for code above all; ``False`` for general models."""
    origin: Origin
    """Who made it."""
    roles: tuple[Role, ...]
    """What it can serve for."""
    fill_in_the_middle: FillInTheMiddle | None = None
    """How it is asked to complete; only for models with the role ``completion``."""
    languages: int | tuple[str, ...] | None = None
    """Programming languages it was trained on: how many, or which."""
    licence: str
    """Id of its licence in ``licences.yaml``."""
    parameters_billion: float
    """Parameters, in 10^9."""
    active_parameters_billion: float | None = None
    """Parameters that one token uses, in 10^9; only for a mixture of experts."""
    max_model_len: int
    """Context length in tokens."""
    config: dict[str, Any] = Field(repr=False)
    """The part of its ``config.json`` that says how large it is, keys verbatim."""
    variants: tuple[Variant, ...]
    """Its weight files, the unquantised ones first."""
    file: str | None = None
    """Name of a GGUF file below ``catalog/models``, for models shipped with Atelier."""
    sha256: str | None = None
    """Digest of that file."""
    tool_call_parser: str | None = None
    """vLLM's ``--tool-call-parser`` for it."""
    reasoning_parser: str | None = None
    """vLLM's ``--reasoning-parser`` for it."""
    scores: dict[Benchmark, Score] = Field(default_factory=dict)
    """Published scores."""
    source: str
    """Where the figures come from."""
    known_answer: str | None = None
    """Text that its completion of ``def fib(n):`` is known to contain, where that is known."""
    notes: str = ""
    """What the figures do not say."""

    @property
    def path(self) -> Path | None:
        """The shipped file on this machine."""
        return DIRECTORY / "models" / self.file if self.file else None

    @property
    def huggingface(self) -> str | None:
        """Repository of the weights as their makers published them."""
        return next((v.huggingface for v in self.variants if v.format == "safetensors"), None)

    @property
    def ollama(self) -> str | None:
        """Its tag in Ollama's library: the first, the smallest that is recommended."""
        return next((v.ollama for v in self.variants if v.ollama), None)

    def variant(self, quantization: str, weight_format: WeightFormat) -> Variant | None:
        """Its weight files in that quantisation and format, if there are any."""
        for variant in self.variants:
            if variant.quantization == quantization and variant.format == weight_format:
                return variant
        return None
