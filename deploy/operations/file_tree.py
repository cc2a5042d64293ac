"""The configuration files of a unit: a new release in one upload, never half of one."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Iterator, Sequence

from pyinfra import host, state
from pyinfra.api import QuoteString
from pyinfra.operations.util.files import generate_color_diff

from deploy.changes.change import Change
from deploy.facts.files import Contents
from deploy.facts.units import Files, FileState
from deploy.operations.commands import Commands
from deploy.operations.script import DockerCommand
from deploy.secrets import SecretStore
from deploy.services import ConfigFile, ConfigTree
from deploy.services.host_files import NEW

Releases = dict[str, Files]
"""By directory."""
HIDDEN = "(secret)\n"
NOT_TAKEN = "the new files would be refused, so those before them stay"
NOT_READ = "the new files are there, but were not read"


def is_written(tree: ConfigTree, releases: Releases, secrets: SecretStore) -> bool:
    """Whether the host has this release with exactly the wanted names, modes and contents."""
    wanted = {name: _wanted(file, secrets) for name, file in tree.files.items()}
    return releases.get(str(tree.directory)) == wanted


def changes(
    tree: ConfigTree, releases: Releases, in_use: str | None, secrets: SecretStore
) -> Iterator[Change]:
    """One change for each file that differs from the release in use.

    Args:
        tree: the wanted files.
        releases: what the host has.
        in_use: directory of the release that the running container uses.
        secrets: the values of secrets in the files.
    """
    own = str(tree.directory)
    base = own if own in releases else in_use
    before = releases.get(base or "", {})
    old = _contents(tree, base, sorted(before)) if state.config.DIFF else {}
    for name in sorted({*before, *tree.files}):
        wanted, found = tree.files.get(name), before.get(name)
        if wanted and found == _wanted(wanted, secrets):
            continue
        action = "remove" if wanted is None else "update" if found else "create"
        diff = generate_color_diff(
            old.get(name, "").splitlines(keepends=True), _shown(wanted).splitlines(keepends=True)
        )
        yield Change(f"file {tree.directory / name}", action, diff=tuple(diff))


def _text(file: ConfigFile, secrets: SecretStore) -> str:
    return file.content if isinstance(file.content, str) else secrets.render(file.content)


def _wanted(file: ConfigFile, secrets: SecretStore) -> FileState:
    return FileState(file.mode, hashlib.sha256(_text(file, secrets).encode()).hexdigest())


def _shown(file: ConfigFile | None) -> str:
    """What a diff may show of a file."""
    if file is None:
        return ""
    return file.content if isinstance(file.content, str) else HIDDEN


def _contents(tree: ConfigTree, release: str | None, names: list[str]) -> dict[str, str]:
    """The text of files on the host, by name; of secret ones, that they are secret."""
    secret = {name: HIDDEN for name, file in tree.files.items() if file.is_secret}
    paths = {f"{release}/{name}": name for name in names if name not in secret}
    if not paths:
        return secret
    contents = host.get_fact(Contents, paths=list(paths))
    return secret | {paths[path]: text for path, text in contents.items()}


def write(
    tree: ConfigTree,
    secrets: SecretStore,
    check: Sequence[str] = (),
    wait: Sequence[str] = (),
) -> Commands:
    """Unpack the release next to its place, then move it there.

    Args:
        tree: the files.
        secrets: the values of secrets in them.
        check: a command without which they are not moved.
        wait: a command that ends when they have been read.
    """
    new, directory = QuoteString(str(tree.root / NEW)), QuoteString(str(tree.directory))
    owned = any(file.owner is not None for file in tree.files.values())
    keep_owner = "--same-owner" if owned else "--no-same-owner"
    yield DockerCommand(
        # read in a container by another user, whatever the umask of this one is
        *("umask 022;", "rm", "-rf", new, "&&", "mkdir", "-p", new, "&&"),
        *("base64", "-d", "|", "tar", "-xzp", keep_owner, "-C", new, "&&"),
        *_asked(check, f"{directory.obj}: {NOT_TAKEN}", ["rm", "-rf", new]),
        *("rm", "-rf", directory, "&&", "mv", new, directory, "&&"),
        *_asked(wait, f"{directory.obj}: {NOT_READ}"),
        "true",
        _stdin=base64.b64encode(_archive(tree, secrets)).decode(),
    )


def _asked(
    command: Sequence[str], otherwise: str, undo: Sequence[str | QuoteString] = ("true",)
) -> list[str | QuoteString]:
    """A command that what follows waits for, if there is one; what is said and done if it fails."""
    if not command:
        return []
    words = (QuoteString(word) for word in command)
    failed = ("echo", QuoteString(otherwise), ">&2;", *undo, ";", "false;")
    return ["{", *words, "||", "{", *failed, "};", "}", "&&"]


def _archive(tree: ConfigTree, secrets: SecretStore) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, file in sorted(tree.files.items()):
            data = _text(file, secrets).encode()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), file.mode
            member.uname = file.owner or ""
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
