"""The models a deployment serves."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field, field_validator

from deploy.spec.base import HOST_PATHS, NAME, Line, LocalPath, Spec, is_host_path, refusal
from deploy.spec.engine import EngineSpec
from deploy.spec.speculative import SpeculativeSpec

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")
TAG = re.compile(r"[\w.-]+(/[\w.-]+)*:[\w.-]+")

PARSER = re.compile(r"[a-z0-9_.-]+")

RoleName = Literal["chat", "completion", "embedding", "rerank"]
LoraRank = Literal[1, 8, 16, 32, 64, 128, 256, 320, 512]
"""What vLLM takes as ``--max-lora-rank``."""


class ModelSpec(Spec):
    """One model, by its name in the catalogue or as files of the operator's own."""

    name: str
    """Name in the catalogue, or a name of your own together with ``path`` or ``config``."""
    path: LocalPath | None = None
    """A GGUF file on this machine, or the first of its parts (``-00001-of-00005.gguf``);
    relative to the inventory, for models outside the catalogue."""
    config: LocalPath | None = None
    """``config.json`` of a model outside the catalogue, which its memory is planned by; relative to
    the inventory."""
    weights: str | None = None
    """A repository on Hugging Face (``org/name`` or ``org/name@revision``) or a directory of the
    host; with Ollama a tag such as ``qwen2.5-coder:7b``. The catalogue's by default."""
    extra_weights: tuple[str, ...] = ()
    """Other repositories on Hugging Face that its arguments name, e.g. of a draft model or an
    adapter: ``org/name`` or ``org/name@revision``."""
    weights_gib: float | None = Field(default=None, gt=0, le=100_000)
    """Size of the weight files in GiB, if you know it; worked out from the model by default."""
    quantization: Line | None = None
    """How the weights are kept, e.g. ``awq``, ``fp8`` or ``q4_k_m``; as published by default."""
    served_model_name: Line | None = None
    """What clients ask for; the name by default."""
    roles: tuple[RoleName, ...] | None = Field(default=None, min_length=1)
    """What it is for: ``chat``, ``completion`` or both, or with vLLM ``embedding`` or ``rerank``;
    what the catalogue says by default."""
    replicas: int | None = Field(default=None, ge=1, le=256)
    """How many engines serve it; by default as many as serve the most people."""
    gpus: float | None = Field(default=None, gt=0, le=1024)
    """Below 1: the share of a GPU's memory that each replica takes. From 1: how many GPUs of each
    host it has for itself. What is best by default."""
    engine: EngineSpec | None = None
    """Settings of the engine for this model alone; another ``kind`` starts from its defaults."""
    max_model_len: int | None = Field(default=None, ge=256, le=10_000_000)
    """Context length in tokens; by default the longest that fits, at most the model's own."""
    max_num_seqs: int | None = Field(default=None, ge=1, le=4096)
    """Requests answered at the same time by one replica; the engine's setting by default."""
    tool_call_parser: str | None = None
    """vLLM, SGLang, TensorRT-LLM: how it reads calls of tools from what the model says, e.g.
    ``hermes``; the catalogue's by default, ``none`` to switch that off."""
    reasoning_parser: str | None = None
    """vLLM, SGLang, TensorRT-LLM: how it tells thoughts from answers, e.g. ``qwen3``; the
    catalogue's by default, ``none`` to leave them together."""
    lora_adapters: dict[str, str] = Field(default_factory=dict)
    """vLLM: LoRA adapters of this model by the name that clients ask for; each a directory of the
    host or a repository on Hugging Face."""
    max_lora_rank: LoraRank | None = None
    """vLLM: the largest rank of its adapters; 16 by default."""
    speculative: SpeculativeSpec | None = None
    """vLLM, llama.cpp: what drafts tokens for it, e.g. ``{"method": "mtp",
    "num_speculative_tokens": 3}``; nothing by default."""
    language_model_only: bool = False
    """vLLM: of a model that takes images, only its language model is served; the memory that an
    encoder takes goes to the KV cache."""
    extra_args: tuple[str, ...] = ()
    """Arguments added to the engine's command line for this model."""

    @field_validator("name")
    @classmethod
    def _name_is_plain(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise refusal(repr(name), "lower-case letters, digits, dots and hyphens")
        return name

    @field_validator("weights")
    @classmethod
    def _weights_are_named(cls, weights: str | None) -> str | None:
        if weights is None or REPOSITORY.fullmatch(weights) or TAG.fullmatch(weights):
            return weights
        if not is_host_path(PurePosixPath(weights)):
            raise refusal(
                repr(weights),
                f"a repository such as 'Qwen/Qwen2.5-Coder-7B-Instruct', or {HOST_PATHS}",
            )
        return weights

    @field_validator("roles")
    @classmethod
    def _what_writes_no_text_does_nothing_else(
        cls, roles: tuple[RoleName, ...] | None
    ) -> tuple[RoleName, ...] | None:
        for role in ("embedding", "rerank"):
            if roles and role in roles and len(set(roles)) > 1:
                fix = "declare it twice, under two names"
                raise refusal(f"{role!r} together with other roles", f"{role!r} alone", fix)
        return roles

    @field_validator("tool_call_parser", "reasoning_parser")
    @classmethod
    def _parser_is_a_name(cls, parser: str | None) -> str | None:
        if parser is not None and not PARSER.fullmatch(parser):
            raise refusal(repr(parser), "the name of one of the engine's parsers, e.g. 'hermes'")
        return parser

    @field_validator("lora_adapters")
    @classmethod
    def _adapters_are_named(cls, adapters: dict[str, str]) -> dict[str, str]:
        for name, source in adapters.items():
            if not NAME.fullmatch(name):
                raise refusal(repr(name), "names of lower-case letters, digits, dots and hyphens")
            is_directory = is_host_path(PurePosixPath(source))
            if not is_directory and ("@" in source or not REPOSITORY.fullmatch(source)):
                raise refusal(
                    f"{name}: {source!r}",
                    f"a repository such as 'org/name', or {HOST_PATHS}",
                )
        return adapters

    @field_validator("extra_weights")
    @classmethod
    def _extra_weights_are_repositories(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not REPOSITORY.fullmatch(name):
                raise refusal(repr(name), "a repository such as 'org/name' or 'org/name@revision'")
        return names

    @field_validator("gpus")
    @classmethod
    def _gpus_are_a_share_or_a_count(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus >= 1 and gpus != int(gpus):
            raise refusal(str(gpus), "a share below 1, or a whole number of GPUs")
        return gpus

    @property
    def served_name(self) -> str:
        """What clients ask for."""
        return self.served_model_name or self.name
