"""Which image each service uses, and where it comes from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from deploy.catalog import Catalog, Image
from deploy.errors import InventoryFileError, Problem
from deploy.images.archive import ImageArchive, read_archive
from deploy.images.build_plan import ImageBuildPlan, make_build_plan
from deploy.images.reference import familiar
from deploy.images.saved import build_architecture
from deploy.services import ResolvedImage
from deploy.spec import DeploymentSpec, ImageSpec
from deploy.spec.image import ImageSource

SUFFIXES = (".tar.gz", ".tar", ".tgz", ".tar.xz", ".tar.bz2")
"""What an archive in the directory of archives may be called, after the image's name."""


@dataclass(frozen=True)
class ImageUse:
    """An image of a deployment, and where it comes from."""

    image: ResolvedImage
    build: ImageBuildPlan | None
    """How it is built, if it is."""
    source: ImageSource = "pull"
    """What is declared: ``build`` without a way to build it is refused where the image is used."""
    archive: ImageArchive | None = None
    """The archive that it is loaded from, if it is."""
    saved_as: str = ""
    """The reference under which it is looked for in an archive."""
    published_for: tuple[str, ...] = ()
    """What the image that is pulled runs on; nothing of an operator's own image."""
    problems: tuple[Problem, ...] = ()
    """Why it cannot be loaded; no one minds as long as the image is not used."""

    @property
    def architectures(self) -> frozenset[str]:
        """What the image runs on, e.g. ``amd64``; nothing where that is not known."""
        if self.archive:
            known = self.archive.architectures.get(familiar(self.image.reference), [])
            return frozenset(known)
        return frozenset([build_architecture()] if self.build else self.published_for) - {""}

    @property
    def is_pulled(self) -> bool:
        """Whether the hosts get it from a registry."""
        return self.build is None and self.archive is None

    def is_there(self, image_id: str | None, loaded: Collection[tuple[str, str]]) -> bool:
        """Whether a host's image with this reference is the wanted one.

        Args:
            image_id: its id; ``None`` if there is none.
            loaded: ids, and digests of the archives that those were loaded from. An engine that
                keeps images in containerd gives them ids that an archive does not tell.
        """
        if image_id is None or self.archive is None:
            return image_id is not None
        own = self.archive.ids(self.image.reference)
        return image_id in own or (image_id, self.archive.file.sha256) in loaded


def resolve_images(
    spec: DeploymentSpec, catalog: Catalog, directory: Path = Path()
) -> dict[str, ImageUse]:
    """Every image of the catalogue as this deployment uses it, by name.

    Args:
        spec: the deployment.
        catalog: where images are described.
        directory: what relative paths are relative to.
    """
    return {
        name: _resolve(name, entry, spec, catalog, directory)
        for name, entry in catalog.images.items()
    }


def _resolve(
    name: str, entry: Image, spec: DeploymentSpec, catalog: Catalog, directory: Path
) -> ImageUse:
    own = spec.images.get(name, ImageSpec())
    source = own.source or _implied_source(own) or spec.image_source
    if source == "load":
        return _load(name, entry, own, _archive_path(name, own, spec, directory), catalog)
    if source == "build" and entry.build is not None:
        build = make_build_plan(name, catalog)
        return ImageUse(_built(name, entry, build.tag), build, source, saved_as=build.tag)
    reference = own.reference or _reference(entry, spec.registry_mirror)
    saved_as = (own.reference or entry.reference).partition("@")[0]
    return ImageUse(
        _pulled(name, entry, reference),
        None,
        source,
        saved_as=saved_as,
        published_for=() if own.reference else entry.architectures,
    )


def _implied_source(own: ImageSpec) -> ImageSource | None:
    if own.archive:
        return "load"
    return "pull" if own.reference else None


def _pulled(name: str, entry: Image, reference: str) -> ResolvedImage:
    return ResolvedImage(name, reference, entry.user, entry.read_only)


def _built(name: str, entry: Image, tag: str) -> ResolvedImage:
    build = entry.build
    user = entry.user if build is None or build.user is None else build.user
    read_only = entry.read_only if build is None or build.read_only is None else build.read_only
    return ResolvedImage(name, tag, user, read_only)


def _reference(entry: Image, mirror: str | None) -> str:
    """The catalogue's reference, with its digest, through the mirror where there is one."""
    reference = f"{entry.reference}@{entry.digest}" if entry.digest else entry.reference
    if mirror is None:
        return reference
    _, _, path = reference.partition("/")
    return f"{mirror.rstrip('/')}/{path}"


def _archive_path(
    name: str, own: ImageSpec, spec: DeploymentSpec, directory: Path
) -> Path | Problem:
    """The archive of an image, or why there is none."""
    if own.archive:
        return directory / own.archive
    if spec.image_archives is None:
        return Problem(
            f"images.{name}",
            "it is loaded from an archive, and none is declared",
            fix=f"declare image_archives='images/', or images={{{name!r}: Image(archive='...')}}",
        )
    folder = directory / spec.image_archives
    paths = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    return next((path for path in paths if path.is_file()), None) or Problem(
        f"images.{name}",
        f"no archive of it in {folder}",
        f"a file {paths[0].name}, or {paths[1].name}",
        f"make it where the image can be had: atelier images INVENTORY --save {folder.name}",
    )


def _load(
    name: str, entry: Image, own: ImageSpec, path: Path | Problem, catalog: Catalog
) -> ImageUse:
    """Upstream's image or the one that is built here, whichever is in the archive."""
    pulled = _pulled(name, entry, own.reference or entry.reference)
    if isinstance(path, Problem):
        return ImageUse(pulled, None, "load", problems=(path,))
    candidates = [pulled]
    if entry.build and not own.reference:
        candidates.append(_built(name, entry, make_build_plan(name, catalog).tag))
    try:
        archive = read_archive(path, f"images.{name}.archive")
    except InventoryFileError as error:
        return ImageUse(pulled, None, "load", problems=error.problems)
    found = next((image for image in candidates if archive.ids(image.reference)), None)
    if found:
        return ImageUse(found, None, "load", archive)
    wrong = Problem(
        f"images.{name}.archive",
        f"{path} holds {', '.join(archive.images)}",
        " or ".join(image.reference for image in candidates),
        f"save that one, or declare images={{{name!r}: Image(archive=..., reference=...)}}",
    )
    return ImageUse(pulled, None, "load", problems=(wrong,))
