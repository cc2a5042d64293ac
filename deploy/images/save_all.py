"""Archives of a deployment's images, for hosts that reach no registry."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.errors import AtelierError, ImageBuildError, Problem
from deploy.images.archive import SUMS, ImageArchive, read_archive
from deploy.images.builder import Report, build_images
from deploy.images.resolve import SUFFIXES, ImageUse
from deploy.images.saved import engine_problem, image_id, write_archive


def save_all(uses: Mapping[str, ImageUse], directory: Path, report: Report) -> list[ImageArchive]:
    """Pull or build every image on this machine and write it to a directory.

    Archives that are there and hold the same image stay as they are. Beside them are their digests.

    Args:
        uses: the images by their names in the catalogue.
        directory: where the archives are written.
        report: called with a line about each step.

    Raises:
        ImageBuildError: if an image cannot be had or written.
    """
    problem = engine_problem()
    if problem:
        raise ImageBuildError(
            Problem("this machine", problem, fix="install and start Docker, which saves images")
        )
    directory.mkdir(parents=True, exist_ok=True)
    archives = [_save(name, use, directory, report) for name, use in uses.items()]
    rows = [f"{archive.file.sha256}  {archive.file.path.name}\n" for archive in archives]
    (directory / SUMS).write_text("".join(rows), encoding="utf-8")
    return archives


def _save(name: str, use: ImageUse, directory: Path, report: Report) -> ImageArchive:
    path = directory / f"{name}{SUFFIXES[0]}"
    _provide(use, report)
    known = _known(path)
    if known and image_id(use.saved_as) in known.ids(use.saved_as):
        return known
    report(f"{name}: saving {use.saved_as}")
    (directory / SUMS).unlink(missing_ok=True)
    write_archive(use.saved_as, path)
    return read_archive(path, f"images.{name}")


def _known(path: Path) -> ImageArchive | None:
    try:
        return read_archive(path, path.name)
    except AtelierError:
        return None


def _provide(use: ImageUse, report: Report) -> None:
    """This machine has the image, under the name that it is looked for in an archive."""
    if use.build:
        build_images([use.build], report)
        return
    reference = use.image.reference
    if image_id(reference) is None:
        report(f"pulling {reference}")
        _docker("pull", "--quiet", reference)
    if reference != use.saved_as:
        _docker("tag", reference, use.saved_as)


def _docker(*arguments: str) -> None:
    done = subprocess.run(["docker", "image", *arguments], capture_output=True, text=True)
    if done.returncode:
        fix = "see whether this machine reaches the registry, and docker login"
        raise ImageBuildError(Problem(f"image {arguments[-1]}", done.stderr.strip(), fix=fix))
