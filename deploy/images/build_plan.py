"""What an image is built from; its tag is a digest of that, so nothing is built twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from deploy.catalog import BaseImage, Catalog
from deploy.errors import PlanError, Problem
from deploy.render import TEMPLATES, render
from deploy.services.runs import canonical_json

DOCKERFILE = "Dockerfile.j2"


@dataclass(frozen=True)
class BaseBuildPlan:
    """A root file system to make from a distribution's packages."""

    tag: str
    entry: BaseImage


@dataclass(frozen=True)
class ImageBuildPlan:
    """An image to build: its tag, the base below it and the files of its build context."""

    name: str
    tag: str
    base: BaseBuildPlan
    context: dict[str, str]


def make_build_plan(name: str, catalog: Catalog) -> ImageBuildPlan:
    """Render the build context of an image and derive its tag.

    Args:
        name: the image's name in the catalogue, and of its folder in ``templates/images``.
        catalog: where the image and its base are described.

    Raises:
        PlanError: if the image is only pulled.
    """
    build = catalog.images[name].build
    if build is None:
        raise PlanError(Problem(f"images.{name}", "there is no recipe to build it", "pull"))
    base = _base(build.base, catalog.bases[build.base])
    folder = TEMPLATES / "images" / name
    context = {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != DOCKERFILE
    }
    context["Dockerfile"] = render(
        f"images/{name}/{DOCKERFILE}", base=base.tag, version=build.version
    )
    return ImageBuildPlan(name, f"atelier/{name}:{build.version}-{_digest(context)}", base, context)


def _base(name: str, entry: BaseImage) -> BaseBuildPlan:
    return BaseBuildPlan(f"atelier/{name}:{_digest(entry.model_dump(mode='json'))}", entry)


def _digest(data: object) -> str:
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()[:8]
