"""What is true of the world: images, models, GPUs and profiles, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from deploy.catalog.entry import load_entries
from deploy.catalog.gpus import Gpu
from deploy.catalog.images import BaseImage, Image, ImageBuild
from deploy.catalog.models import Model
from deploy.catalog.profiles import profile_names, with_profile

__all__ = [
    "BaseImage",
    "Catalog",
    "Gpu",
    "Image",
    "ImageBuild",
    "Model",
    "load_catalog",
    "profile_names",
    "with_profile",
]


@dataclass(frozen=True)
class Catalog:
    """The whole catalogue, by name."""

    images: dict[str, Image]
    bases: dict[str, BaseImage]
    models: dict[str, Model]
    gpus: dict[str, Gpu]


@cache
def load_catalog() -> Catalog:
    """Read the catalogue that this installation carries.

    Raises:
        CatalogError: if one of its files is not valid.
    """
    return Catalog(
        images=load_entries("images.yaml", Image),
        bases=load_entries("bases.yaml", BaseImage),
        models=load_entries("models.yaml", Model),
        gpus=load_entries("gpus.yaml", Gpu),
    )
