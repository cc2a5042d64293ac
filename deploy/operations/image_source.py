"""Commands that bring an image to a host: pulled there, or loaded from an archive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploy.errors import AtelierError
from deploy.hosts.pulling import explain_pull
from deploy.images import ImageBuildPlan, archive_path, build_images, save_image
from deploy.local_file import LocalFile
from deploy.operations.commands import show_failure
from deploy.operations.copy import CopyCommand
from deploy.operations.script import ScriptCommand

SCRIPT = "image.sh"
Report = Callable[[str], None]
_one_at_a_time = threading.Lock()
"""Hosts that need the same image wait for the one that has it built."""


@dataclass(frozen=True)
class ImagePlace:
    """Where a deployment keeps what it needs for images on a host."""

    directory: PurePosixPath
    """The deployment's own directory."""
    is_local: bool
    """Whether the host is this machine."""

    @property
    def record(self) -> str:
        """The file in which images are written down that this deployment brought."""
        return str(self.directory / "images.list")


class PullCommand(ScriptCommand):
    """Pulls an image, with a login that is gone afterwards.

    Args:
        reference: the image.
        place: where it is written down.
        login: a config.json of Docker's client, or nothing.
        redact: applied to what Docker says.
    """

    def __init__(
        self, reference: str, place: ImagePlace, login: str, redact: Callable[[str], str]
    ) -> None:
        super().__init__(
            *(SCRIPT, "pull", place.record, reference),
            stdin=login,
            redact=redact,
            progress=f"pulling {reference}",
        )
        self._reference = reference
        self._has_login = bool(login)

    def explain(self, said: str) -> str:
        """Which image, and what helps."""
        fix = explain_pull(said, self._reference, has_login=self._has_login)
        failure = f"image {self._reference} cannot be pulled"
        return f"{failure}\n    fix: {fix}" if fix else failure


class LoadCommand(PyinfraCommand):
    """Loads an image from an archive of this machine, after copying that to other hosts.

    Args:
        reference: the image that it holds.
        place: where archives are put, and images written down.
        archive: makes or finds the archive on this machine, told whom to report to.
    """

    def __init__(
        self, reference: str, place: ImagePlace, archive: Callable[[Report], LocalFile]
    ) -> None:
        super().__init__()
        self.reference = reference
        self._place = place
        self._archive = archive

    def __repr__(self) -> str:
        return f"LoadCommand({self.reference})"

    def execute(self, state: State, host: Host, connector_arguments: Any) -> bool:
        """Copy and load it; an archive that cannot be made is explained."""
        try:
            archive = self._archive(host.log)
        except AtelierError as error:
            show_failure(host, str(error))
            return False
        action, path = "load", PurePosixPath(archive.path)
        if not self._place.is_local:
            action, path = "take", archive_path(self._place.directory, archive)
            copy = CopyCommand(archive, path, self.reference)
            if not copy.execute(state, host, connector_arguments):
                return False
        command = ScriptCommand(
            *(SCRIPT, action, self._place.record, self.reference, str(path), archive.sha256),
            redact=str,
            progress=f"loading {self.reference}",
        )
        loaded, output = command.execute(state, host, dict(connector_arguments))
        if not loaded:
            show_failure(host, output.output)
        return loaded


def build_and_save(plan: ImageBuildPlan, report: Report) -> LocalFile:
    """An image built on this machine, once for all hosts, as an archive.

    Raises:
        ImageBuildError: if it cannot be built or saved.
    """
    with _one_at_a_time:
        build_images([plan], report)
        return save_image(plan.tag, report)
