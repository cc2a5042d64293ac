"""Images: on the host before anything is stopped."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import FunctionCommand, QuoteString, StringCommand, operation
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploy.drift import Change
from deploy.errors import ImageBuildError
from deploy.facts.engine import ImageIds
from deploy.images import ImageBuildPlan, ImageUse, build_images
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands


@operation()
def present(uses: list[ImageUse]) -> Commands:
    """The host has every image: pulled, or built here where that is declared."""
    references = [use.image.reference for use in uses]
    found = host.get_fact(ImageIds, references=references)
    missing = [use for use in uses if use.image.reference not in found]
    announce_all(
        Change(f"image {use.image.reference}", "build" if use.build else "pull") for use in missing
    )
    builds = [use.build for use in missing if use.build]
    if builds:
        yield FunctionCommand(_build, (builds,), {})
    for use in missing:
        if not use.build:
            yield StringCommand("docker", "image", "pull", "-q", QuoteString(use.image.reference))


def _build(state: State, host: Host, plans: list[ImageBuildPlan]) -> bool:  # noqa: ARG001
    try:
        build_images(plans, report=host.log)
    except ImageBuildError as error:
        host.log_styled(str(error), fg="red")
        return False
    return True
