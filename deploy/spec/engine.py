"""The engine that runs the models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deploy.spec.base import MemoryLimit, Spec

EngineKind = Literal["llama_cpp"]


class EngineSpec(Spec):
    """How models are served."""

    kind: EngineKind = "llama_cpp"
    """Which engine."""
    max_num_seqs: int = Field(default=2, ge=1, le=4096)
    """Requests answered at the same time by one replica."""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """CPU threads for generation; all cores by default."""
    memory_limit: MemoryLimit | None = None
    """Memory limit of one replica, e.g. ``8GiB``; derived from the model's size by default."""
    start_timeout_seconds: int = Field(default=600, ge=5, le=7200)
    """How long a replica may take until it is healthy."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables added to the container."""
    extra_args: tuple[str, ...] = ()
    """Arguments added to the engine's command line."""
