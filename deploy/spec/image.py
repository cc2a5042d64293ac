"""Where container images come from."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import field_validator, model_validator

from deploy.spec.base import LocalPath, Spec, refusal

ImageSource = Literal["pull", "build", "load"]
REFERENCE = re.compile(
    r"[^\s:@/-][^\s:@]*(:\d+)?(/[^\s:@]+)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)


class ImageSpec(Spec):
    """One image, where it should differ from the catalogue's."""

    source: ImageSource | None = None
    """``pull`` from a registry, ``build`` here or ``load`` from an archive; the deployment's
    ``image_source`` by default."""
    reference: str | None = None
    """A reference with a version or digest instead of the catalogue's."""
    archive: LocalPath | None = None
    """An archive made by ``docker image save`` to load, relative to the inventory."""

    @field_validator("reference")
    @classmethod
    def _reference_is_pinned(cls, reference: str | None) -> str | None:
        if reference is None:
            return None
        if not REFERENCE.fullmatch(reference):
            raise refusal(repr(reference), "registry/name:version, or name@sha256:digest")
        name = reference.rsplit("/", 1)[-1]
        if name.endswith(":latest") or (":" not in name and "@" not in name):
            raise refusal(
                repr(reference),
                "a reference with a version or a digest",
                "pin a version: 'latest' changes under a running deployment",
            )
        return reference

    @model_validator(mode="after")
    def _archive_is_loaded(self) -> ImageSpec:
        if self.archive and self.source not in {None, "load"}:
            raise refusal(
                f"source is {self.source!r}, and an archive is declared",
                "source='load' together with archive",
            )
        if (self.archive or self.source == "load") and "@" in (self.reference or ""):
            raise refusal(
                f"{self.reference!r} of an archive",
                "a reference with a version: archives know no digests of registries",
            )
        return self
