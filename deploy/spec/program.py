"""Programs that run on a host without a container."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Literal

from pydantic import field_validator, model_validator

from deploy.spec.base import HostPath, LocalPathOr, Spec, refusal

ProgramName = Literal["haproxy", "llama-server", "ollama"]
ENDS = (".tar.gz", ".tgz", ".tar")
VERSION = re.compile(r"[\w.+~-]{1,64}", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}")


class ProgramSpec(Spec):
    """A program: an archive that is unpacked on the host, or one that is there already."""

    archive: LocalPathOr | None = None
    """A ``.tar.gz`` or ``.tar`` with the program and its libraries: a path on this machine,
    relative to the inventory, or a URL that this machine fetches it from."""
    sha256: str | None = None
    """Digest of the archive; a URL needs it."""
    path: HostPath | None = None
    """Where the program is on the host, in the place of an archive."""
    version: str = ""
    """Its version, e.g. ``b11669``; of a program that is there already, another one restarts it."""

    @field_validator("archive")
    @classmethod
    def _archive_is_one(cls, archive: str | None) -> str | None:
        if archive is not None and not archive.endswith(ENDS):
            raise refusal(repr(archive), f"a name that ends with {' or '.join(ENDS)}")
        return archive

    @field_validator("sha256")
    @classmethod
    def _digest_is_sha256(cls, sha256: str | None) -> str | None:
        if sha256 is not None and not SHA256.fullmatch(sha256):
            fix = "copy it from the release's page, or compute it: sha256sum FILE"
            raise refusal(repr(sha256), "64 lower-case hexadecimal digits", fix)
        return sha256

    @field_validator("version")
    @classmethod
    def _version_is_one_word(cls, version: str) -> str:
        if version and not VERSION.fullmatch(version):
            raise refusal(repr(version), "one word of letters, digits and . + ~ -")
        return version

    @model_validator(mode="after")
    def _comes_from_one_place(self) -> ProgramSpec:
        if (self.archive is None) == (self.path is None):
            found = "neither archive nor path" if self.path is None else "archive and path"
            raise refusal(found, "either archive or path")
        if self.archive and not self.version:
            raise refusal("an archive without a version", "version, e.g. 'b11669'")
        if self.is_fetched and self.sha256 is None:
            fix = "copy its sha256 from the page that it is on"
            raise refusal("a URL without sha256", "sha256 of the archive", fix)
        if self.path and self.sha256:
            raise refusal("sha256 of a program that is on the host", "path alone", "remove sha256")
        return self

    @property
    def is_fetched(self) -> bool:
        """Whether the archive is fetched from a URL."""
        return bool(self.archive and "://" in self.archive)


HOMEBREW_HAPROXY = ProgramSpec(path=PurePosixPath("/opt/homebrew/bin/haproxy"))
"""Where Homebrew puts HAProxy on an Apple chip: https://docs.brew.sh/Installation,
https://formulae.brew.sh/formula/haproxy."""
