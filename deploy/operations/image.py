"""Images: on the host before anything is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath

from pyinfra import host
from pyinfra.api import FunctionCommand, QuoteString, StringCommand, operation
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploy.drift import Change
from deploy.errors import ImageBuildError, Problem
from deploy.facts.engine import ImageIds
from deploy.images import ImageBuildPlan, ImageUse, build_images, engine_problem, was_built
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands, refuse, show_failure
from deploy.operations.shipment import LoadCommand, build_and_save


@operation()
def present(uses: list[ImageUse], directory: PurePosixPath, *, is_local: bool) -> Commands:
    """The host has every image: pulled, or built on this machine where that is declared.

    An image built here has a digest of what it is made of for its tag: a host that has the tag
    has the image.

    Args:
        uses: the images.
        directory: where archives of images are put on the host.
        is_local: whether the host is this machine, so that what is built here is there.
    """
    references = [use.image.reference for use in uses]
    found = host.get_fact(ImageIds, references=references)
    missing = [use for use in uses if use.image.reference not in found]
    builds = [use.build for use in missing if use.build]
    problem = "" if is_local or not builds else engine_problem()
    if problem:
        yield from refuse(str(_no_engine_here(problem)))
        return
    announce_all(change for use in missing for change in _changes(use, is_local=is_local))
    if builds and is_local:
        yield FunctionCommand(_build, (builds,), {})
    for use in missing:
        if use.build is None:
            yield StringCommand("docker", "image", "pull", "-q", QuoteString(use.image.reference))
        elif not is_local:
            archive = partial(build_and_save, use.build)
            yield LoadCommand(use.image.reference, directory, archive)


def _changes(use: ImageUse, *, is_local: bool) -> Iterator[Change]:
    resource = f"image {use.image.reference}"
    if use.build is None:
        yield Change(resource, "pull")
        return
    if is_local or not was_built(use.build.tag):
        yield Change(resource, "build")
    if not is_local:
        yield Change(resource, "copy")


def _no_engine_here(problem: str) -> Problem:
    return Problem(
        "image_source",
        f"images are built on this machine, but its container engine cannot be used: {problem}",
        "'pull', or 'build' where Docker runs on this machine",
        "install and start Docker here, or pull the images from a registry that the host reaches",
    )


def _build(state: State, host: Host, plans: list[ImageBuildPlan]) -> bool:  # noqa: ARG001
    try:
        build_images(plans, report=host.log)
    except ImageBuildError as error:
        show_failure(host, str(error))
        return False
    return True
