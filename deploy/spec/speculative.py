"""Speculative decoding of a model: what drafts its tokens."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from deploy.spec.base import LocalPath, LocalPathOr, Spec, refusal

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")
DRAFTED = ("eagle3", "draft_model")
"""Methods that need a draft."""


class SpeculativeSpec(Spec):
    """Drafts of vLLM or llama.cpp, whose memory and speed are counted.

    vLLM's ``--speculative-config``, llama.cpp's ``--spec-type``.
    """

    method: Literal["mtp", "eagle3", "draft_model", "ngram"]
    """``mtp``: the model's own layers for multi-token prediction; ``eagle3``: a head trained for
    the model; ``draft_model``: a smaller model with the same vocabulary; ``ngram``: the prompt.
    llama.cpp: the last two."""
    num_speculative_tokens: int = Field(ge=1, le=64)
    """Tokens drafted at a time."""
    draft: LocalPathOr | None = None
    """``eagle3`` and ``draft_model``: a name in the catalogue, or the ``config.json`` of the draft,
    relative to the inventory."""
    weights: str | None = None
    """vLLM: its repository on Hugging Face (``org/name`` or ``org/name@revision``); the catalogue's
    by default."""
    path: LocalPath | None = None
    """llama.cpp: its GGUF file on this machine, relative to the inventory."""
    acceptance: float | None = Field(default=None, ge=0, le=1)
    """Share of drafted tokens that are accepted, each given the ones before it; a cautious guess by
    method unless set. It decides the speed that is planned, nothing else."""

    @model_validator(mode="after")
    def _has_a_draft_where_one_is_needed(self) -> SpeculativeSpec:
        if self.method in DRAFTED and self.draft is None:
            fix = "declare draft, the draft's config.json or its name in the catalogue"
            raise refusal(f"{self.method} without a draft", "a draft", fix)
        if self.method not in DRAFTED and (self.draft or self.weights or self.path):
            raise refusal(f"{self.method} with a draft", f"draft with {' or '.join(DRAFTED)}")
        if self.weights and not REPOSITORY.fullmatch(self.weights):
            raise refusal(repr(self.weights), "'org/name' or 'org/name@revision'")
        return self
