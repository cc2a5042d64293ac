"""Programs on a host that no service uses any more."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePosixPath

from pyinfra import host

from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.facts.programs import OldPrograms
from deploy.operations.change import announce_all
from deploy.operations.commands import Commands
from deploy.operations.lock import changes_host
from deploy.operations.program import SCRIPT
from deploy.operations.script import ScriptCommand
from deploy.units import MB


@changes_host
def removed(directory: PurePosixPath, wanted: Collection[str]) -> Commands:
    """The host has only programs that the deployment wants, or that a service of it starts.

    Args:
        directory: where programs are kept on the host.
        wanted: directories of the programs that the deployment wants.
    """
    found = host.get_fact(OldPrograms, directory=str(directory))
    old = [each for each in found if not each.is_used and each.path not in set(wanted)]
    announce_all(
        Change(
            f"program {each.path}",
            "remove",
            (FieldChange("size", f"{each.size_bytes / MB:.0f} MB", ABSENT),),
        )
        for each in old
    )
    if old:
        paths = [each.path for each in old]
        yield ScriptCommand(SCRIPT, "remove", *paths, redact=str, progress="removing")
