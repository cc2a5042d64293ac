"""Model files on this machine: what a plan needs to know of them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploy.catalog import Catalog
from deploy.catalog.gguf_header import extent_of
from deploy.errors import (
    AtelierError,
    InventoryFileError,
    Problem,
    collecting,
    raise_together,
)
from deploy.local_file import LocalFile, read_local_file
from deploy.spec import DeploymentSpec

MAGIC = b"GGUF"
PART = re.compile(r"(?P<prefix>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
"""What llama.cpp calls the parts of a model; it finds the others by the name of the first."""
NAMED = 3
"""How many missing parts are named."""


@dataclass(frozen=True)
class ModelFile:
    """A model in GGUF: one file, or several parts side by side, of which engines load the first."""

    parts: tuple[LocalFile, ...]

    @property
    def path(self) -> Path:
        """The file that an engine is given."""
        return self.parts[0].path

    @property
    def size_bytes(self) -> int:
        """Size of all parts together."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def sha256(self) -> str:
        """Digest of the file; of parts, the digest of their digests."""
        if len(self.parts) == 1:
            return self.parts[0].sha256
        return hashlib.sha256("".join(part.sha256 for part in self.parts).encode()).hexdigest()


@dataclass(frozen=True)
class Sources:
    """Where models are looked up."""

    catalog: Catalog
    files: Mapping[str, ModelFile]
    """Files on this machine, by the model's name."""
    directory: Path
    """What relative paths are relative to."""


def draft_of(name: str) -> str:
    """What the file of a model's draft is called among the files; no model is called so."""
    return f"{name}/draft"


def read_model_files(
    spec: DeploymentSpec, catalog: Catalog, directory: Path
) -> dict[str, ModelFile]:
    """The file of every model, and of every draft, that has one on this machine, by its name.

    Args:
        spec: the deployment.
        catalog: where models without a path are looked up.
        directory: what relative paths are relative to.

    Raises:
        InventoryFileError: if a declared file does not exist, is not a GGUF file, or is a part of a
            model whose other parts are not next to it.
    """
    files = {}
    errors: list[AtelierError] = []
    for index, model in enumerate(spec.models):
        draft = model.speculative and model.speculative.path
        if draft:
            setting = f"models[{index}].speculative.path"
            with collecting(errors):
                files[draft_of(model.name)] = _read_own(draft, directory, setting)
        if model.path is not None:
            with collecting(errors):
                files[model.name] = _read_own(model.path, directory, f"models[{index}].path")
        else:
            entry = catalog.models.get(model.name)
            if entry and entry.path and entry.sha256:
                file = LocalFile(entry.path, entry.path.stat().st_size, entry.sha256)
                files[model.name] = ModelFile((file,))
    raise_together(errors)
    return files


def _read_own(own: Path, directory: Path, setting: str) -> ModelFile:
    # links stay: of a cache of Hugging Face they have the names, and what they lead to has not
    path = Path(os.path.abspath(directory / own))  # noqa: PTH100 - resolve() does not
    if not path.is_file():
        raise InventoryFileError(
            Problem(setting, f"no file at {path}", fix="give the path of a GGUF file")
        )
    return ModelFile(tuple(_read_part(part, setting) for part in _parts(path, setting)))


def _parts(path: Path, setting: str) -> list[Path]:
    """The file alone, or every part of the model whose first part it is."""
    part = PART.fullmatch(path.name)
    if part is None or int(part["count"]) == 0:
        return [path]
    count = int(part["count"])
    paths = [
        path.with_name(f"{part['prefix']}-{number:05}-of-{count:05}.gguf")
        for number in range(1, count + 1)
    ]
    if int(part["number"]) != 1:
        raise InventoryFileError(
            Problem(
                setting,
                f"{path.name} is not the first part of its model",
                paths[0].name,
                "declare the first part; the other parts are found next to it",
            )
        )
    missing = [one.name for one in paths if not one.is_file()]
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        found = f"{len(missing)} of {count} parts are missing in {path.parent}: "
        raise InventoryFileError(
            Problem(
                setting,
                found + ", ".join(missing[:NAMED]) + more,
                f"all {count} parts in one directory",
                "download the missing parts",
            )
        )
    return paths


def _read_part(path: Path, setting: str) -> LocalFile:
    try:
        with path.open("rb") as file:
            begins_right = file.read(len(MAGIC)) == MAGIC
        if begins_right:
            return read_local_file(path, partial(_refuse_pieces, setting=setting))
    except OSError as error:
        raise InventoryFileError(
            Problem(setting, f"cannot read {path}: {error.strerror}", fix="let this user read it")
        ) from None
    raise InventoryFileError(
        Problem(
            setting,
            f"{path} is not a GGUF file",
            "a file that starts with 'GGUF'",
            _pointer_fix(path),
        )
    )


def _refuse_pieces(path: Path, setting: str) -> None:
    """A file that ends too early, or that engines would not find the others of."""
    extent = extent_of(path)
    if extent is None:
        return
    size = path.stat().st_size
    if size < extent.least_bytes:
        raise InventoryFileError(
            Problem(
                setting,
                f"{path} has {size} bytes, and ends before its last tensor begins",
                f"the whole file, of more than {extent.least_bytes} bytes",
                "download it again; if it was cut into pieces, such as x.gguf.part1of2 or "
                "x.gguf-split-a, put them together: cat x.gguf* > whole.gguf",
            )
        )
    named = PART.fullmatch(path.name)
    if extent.parts > 1 and (named is None or int(named["count"]) != extent.parts):
        prefix = named["prefix"] if named else path.stem
        raise InventoryFileError(
            Problem(
                setting,
                f"{path} is one of {extent.parts} parts of a model, of which engines find the"
                " others by their names",
                f"a name such as {prefix}-00001-of-{extent.parts:05}.gguf",
                "give all parts the names back that they had, or put them together: "
                "llama-gguf-split --merge FIRST WHOLE",
            )
        )


def _pointer_fix(path: Path) -> str:
    """What helps where a repository was cloned without its large files."""
    with path.open("rb") as file:
        is_pointer = file.read(8) == b"version "
    return "fetch it, in the repository that was cloned: git lfs pull" if is_pointer else ""
