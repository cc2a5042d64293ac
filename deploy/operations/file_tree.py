"""The configuration files of a component: a new release in one upload, never half of one."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Iterator

from pyinfra import host, state
from pyinfra.api import QuoteString, StringCommand
from pyinfra.operations.util.files import generate_color_diff

from deploy.drift import Change
from deploy.facts.component import FileState
from deploy.facts.files import Contents
from deploy.operations.commands import Commands
from deploy.services import ConfigTree

Releases = dict[str, dict[str, FileState]]


def is_written(tree: ConfigTree, releases: Releases) -> bool:
    """Whether the host has this release with exactly the wanted names, modes and contents."""
    wanted = {
        name: FileState(file.mode, hashlib.sha256(file.content.encode()).hexdigest())
        for name, file in tree.files.items()
    }
    return releases.get(tree.release) == wanted


def changes(tree: ConfigTree, releases: Releases, current: str | None) -> Iterator[Change]:
    """One change for each file that differs from the release in use.

    Args:
        tree: the wanted files.
        releases: what the host has.
        current: the release that the running container uses.
    """
    base = tree.release if tree.release in releases else current
    before = releases.get(base or "", {})
    old = _contents(tree, base, sorted(before)) if state.config.DIFF else {}
    for name in sorted({*before, *tree.files}):
        wanted = tree.files.get(name)
        text = wanted.content if wanted else ""
        found = before.get(name)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if wanted and found == FileState(wanted.mode, digest):
            continue
        action = "remove" if wanted is None else "update" if found else "create"
        diff = generate_color_diff(
            old.get(name, "").splitlines(keepends=True), text.splitlines(keepends=True)
        )
        yield Change(f"file {tree.directory / name}", action, diff=tuple(diff))


def _contents(tree: ConfigTree, release: str | None, names: list[str]) -> dict[str, str]:
    if not names:
        return {}
    paths = {str(tree.root / (release or "") / name): name for name in names}
    contents = host.get_fact(Contents, paths=list(paths))
    return {paths[path]: text for path, text in contents.items()}


def write(tree: ConfigTree) -> Commands:
    """Unpack the release beside its place, then move it there."""
    new, directory = QuoteString(f"{tree.root}/.new"), QuoteString(str(tree.directory))
    yield StringCommand(
        # read in a container by another user, whatever the umask of this one is
        *("umask 022;", "rm", "-rf", new, "&&", "mkdir", "-p", new, "&&"),
        *("base64", "-d", "|", "tar", "-xzp", "--no-same-owner", "-C", new, "&&"),
        *("rm", "-rf", directory, "&&", "mv", new, directory),
        _stdin=base64.b64encode(_archive(tree)).decode(),
    )


def _archive(tree: ConfigTree) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, file in sorted(tree.files.items()):
            data = file.content.encode()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), file.mode
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
