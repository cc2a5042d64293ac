"""Model files on this machine: what a plan needs to know of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from deploy.catalog import Catalog
from deploy.errors import InventoryFileError, Problem
from deploy.local_file import LocalFile
from deploy.spec import DeploymentSpec, ModelSpec


class ModelFile(LocalFile):
    """A model file: where it is, how large it is, and its digest."""


def read_model_files(
    spec: DeploymentSpec, catalog: Catalog, directory: Path
) -> dict[str, ModelFile]:
    """The file of every model that has one on this machine, by the model's name.

    Args:
        spec: the deployment.
        catalog: where models without a path are looked up.
        directory: what relative paths are relative to.

    Raises:
        InventoryFileError: if a declared file does not exist or is not a GGUF file.
    """
    files = {}
    for index, model in enumerate(spec.models):
        if model.path is not None:
            files[model.name] = _read_own(model, directory, f"models[{index}].path")
        else:
            entry = catalog.models.get(model.name)
            if entry and entry.path and entry.sha256:
                files[model.name] = ModelFile(entry.path, entry.path.stat().st_size, entry.sha256)
    return files


def _read_own(model: ModelSpec, directory: Path, setting: str) -> ModelFile:
    path = directory / (model.path or "")
    if not path.is_file():
        raise InventoryFileError(
            Problem(setting, f"no file at {path}", fix="give the path of a GGUF file")
        )
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise InventoryFileError(
                Problem(setting, f"{path} is not a GGUF file", "a file that starts with 'GGUF'")
            )
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ModelFile(path.resolve(), path.stat().st_size, digest)
