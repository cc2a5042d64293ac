"""Images built on this machine, brought to hosts over SSH."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploy.errors import AtelierError
from deploy.images import ImageBuildPlan, build_images, save_image
from deploy.local_file import LocalFile
from deploy.operations.commands import show_failure
from deploy.operations.copy import CopyCommand
from deploy.operations.script import ScriptCommand

_one_at_a_time = threading.Lock()
"""Hosts that need the same image wait for the one that has it built."""


class LoadCommand(PyinfraCommand):
    """Copies an archive and gives it to the host's container engine.

    Args:
        reference: the image that it holds.
        directory: where archives are put on the host.
        archive: makes or finds the archive on this machine, told whom to report to.
    """

    def __init__(
        self,
        reference: str,
        directory: PurePosixPath,
        archive: Callable[[Callable[[str], None]], LocalFile],
    ) -> None:
        super().__init__()
        self.reference = reference
        self.directory = directory
        self._archive = archive

    def __repr__(self) -> str:
        return f"LoadCommand({self.reference}, {self.directory})"

    def execute(self, state: State, host: Host, connector_arguments: Any) -> bool:
        """Copy and load it; what cannot be made is explained."""
        try:
            archive = self._archive(host.log)
        except AtelierError as error:
            show_failure(host, str(error))
            return False
        path = self.directory / f"{archive.sha256}.tar"
        if not CopyCommand(archive, path).execute(state, host, connector_arguments):
            return False
        return self._load(path, state, host, connector_arguments)

    def _load(self, path: PurePosixPath, state: State, host: Host, arguments: Any) -> bool:
        command = ScriptCommand(
            *("image.sh", "load", str(path), self.reference),
            redact=str,
            progress=f"loading {self.reference}",
        )
        loaded, output = command.execute(state, host, dict(arguments))
        if not loaded:
            show_failure(host, output.output)
        return loaded


def build_and_save(plan: ImageBuildPlan, report: Callable[[str], None]) -> LocalFile:
    """An image built on this machine, once for all hosts, as an archive.

    Raises:
        ImageBuildError: if it cannot be built or saved.
    """
    with _one_at_a_time:
        build_images([plan], report)
        return save_image(plan.tag, report)
