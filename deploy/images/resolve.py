"""Which image each service uses, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.catalog import Catalog, Image
from deploy.images.build_plan import ImageBuildPlan, make_build_plan
from deploy.services import ResolvedImage
from deploy.spec import DeploymentSpec, ImageSpec
from deploy.spec.image import ImageSource


@dataclass(frozen=True)
class ImageUse:
    """An image of a deployment: pulled as it is, or built here."""

    image: ResolvedImage
    build: ImageBuildPlan | None
    source: ImageSource = "pull"
    """What is declared: ``build`` without a way to build it is refused where the image is used."""


def resolve_images(spec: DeploymentSpec, catalog: Catalog) -> dict[str, ImageUse]:
    """Every image of the catalogue as this deployment uses it, by name."""
    return {name: _resolve(name, entry, spec, catalog) for name, entry in catalog.images.items()}


def _resolve(name: str, entry: Image, spec: DeploymentSpec, catalog: Catalog) -> ImageUse:
    own = spec.images.get(name, ImageSpec())
    source = own.source or ("pull" if own.reference else spec.image_source)
    if source == "build" and entry.build is not None:
        build = make_build_plan(name, catalog)
        user = entry.user if entry.build.user is None else entry.build.user
        read_only = entry.read_only if entry.build.read_only is None else entry.build.read_only
        return ImageUse(ResolvedImage(name, build.tag, user, read_only), build, source)
    reference = own.reference or _reference(entry, spec.registry_mirror)
    return ImageUse(ResolvedImage(name, reference, entry.user, entry.read_only), None, source)


def _reference(entry: Image, mirror: str | None) -> str:
    """The catalogue's reference, with its digest, through the mirror where there is one."""
    reference = f"{entry.reference}@{entry.digest}" if entry.digest else entry.reference
    if mirror is None:
        return reference
    _, _, path = reference.partition("/")
    return f"{mirror.rstrip('/')}/{path}"
