"""The models a deployment serves."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, field_validator

from deploy.spec.base import Spec, refusal

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


class ModelSpec(Spec):
    """One model, by its name in the catalogue or as a file of the operator's own."""

    name: str
    """Name in the catalogue, or a name of your own together with ``path``."""
    path: Path | None = None
    """A GGUF file on this machine, relative to the inventory; for models outside the catalogue."""
    served_model_name: str | None = None
    """What clients ask for; the name by default."""
    max_model_len: int | None = Field(default=None, ge=256, le=10_000_000)
    """Context length in tokens; the model's own by default."""
    max_num_seqs: int | None = Field(default=None, ge=1, le=4096)
    """Requests answered at the same time by one replica; the engine's setting by default."""
    extra_args: tuple[str, ...] = ()
    """Arguments added to the engine's command line for this model."""

    @field_validator("name")
    @classmethod
    def _name_is_plain(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise refusal(repr(name), "lower-case letters, digits, dots and hyphens")
        return name

    @property
    def served_name(self) -> str:
        """What clients ask for."""
        return self.served_model_name or self.name
