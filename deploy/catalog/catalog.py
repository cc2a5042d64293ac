"""The whole catalogue: each file is read when it is first asked for, of the models each row."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property

from deploy.catalog.amd import AmdCard, AmdPackages
from deploy.catalog.entry import DIRECTORY, load_entries
from deploy.catalog.gpus import Gpu
from deploy.catalog.images import BaseImage, Image
from deploy.catalog.licences import Licence
from deploy.catalog.mig import MigCard
from deploy.catalog.models import Model
from deploy.catalog.nvidia import NvidiaBranch, NvidiaGeneration, NvidiaPackages
from deploy.catalog.providers import Provider
from deploy.catalog.rows import Rows


class Catalog:
    """The whole catalogue, by name."""

    @cached_property
    def images(self) -> dict[str, Image]:
        """Container images."""
        return load_entries("images.yaml", Image)

    @cached_property
    def bases(self) -> dict[str, BaseImage]:
        """Root file systems that images are built on."""
        return load_entries("bases.yaml", BaseImage)

    @cached_property
    def models(self) -> Mapping[str, Model]:
        """Models: those of today in a file per maker, the older ones in one."""
        makers = sorted(path.name for path in (DIRECTORY / "models").glob("*.yaml"))
        return Rows(["models.yaml", *(f"models/{name}" for name in makers)], Model)

    @cached_property
    def gpus(self) -> dict[str, Gpu]:
        """GPUs."""
        return load_entries("gpus.yaml", Gpu)

    @cached_property
    def nvidia_branches(self) -> dict[str, NvidiaBranch]:
        """Branches of NVIDIA's driver, by number."""
        return load_entries("nvidia_branches.yaml", NvidiaBranch)

    @cached_property
    def nvidia_generations(self) -> dict[str, NvidiaGeneration]:
        """Generations of NVIDIA's cards."""
        return load_entries("nvidia_generations.yaml", NvidiaGeneration)

    @cached_property
    def nvidia_packages(self) -> dict[str, NvidiaPackages]:
        """Packages of NVIDIA's driver, by distribution and release."""
        return load_entries("nvidia_packages.yaml", NvidiaPackages)

    @cached_property
    def mig(self) -> dict[str, MigCard]:
        """How cards are divided into instances, by the id of the GPU."""
        return load_entries("nvidia_mig.yaml", MigCard)

    @cached_property
    def amd_cards(self) -> dict[str, AmdCard]:
        """AMD's cards, by instruction set."""
        return load_entries("amd_cards.yaml", AmdCard)

    @cached_property
    def amd_packages(self) -> dict[str, AmdPackages]:
        """Packages of AMD's driver, by distribution and release."""
        return load_entries("amd_packages.yaml", AmdPackages)

    @cached_property
    def licences(self) -> dict[str, Licence]:
        """Licences of models and software."""
        return load_entries("licences.yaml", Licence)

    @cached_property
    def providers(self) -> dict[str, Provider]:
        """Where machines can be rented."""
        return load_entries("providers.yaml", Provider)


@cache
def load_catalog() -> Catalog:
    """The catalogue that this installation carries.

    A file or a row of it that is not valid raises ``CatalogError`` when it is first asked for.
    """
    return Catalog()
