"""Archives of programs on this machine: what is known of them before anything is touched."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import InventoryFileError, Problem, ProgramError
from deploy.local_file import LocalFile, read_local_file, user_cache
from deploy.spec import DeploymentSpec, ProgramSpec

CHUNK_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 60
Report = Callable[[str], None]


@dataclass(frozen=True)
class ProgramArchive:
    """An archive with a program in it."""

    sha256: str
    url: str = ""
    """Where it is fetched from, unless it is a file."""
    file: LocalFile | None = None


@dataclass(frozen=True)
class Program:
    """A program as it is declared for a host."""

    spec: ProgramSpec
    archive: ProgramArchive | None = None
    """``None`` of a program that is on the host already."""


Programs = dict[str, dict[str, Program]]
"""By host and name."""


def read_programs(spec: DeploymentSpec, directory: Path) -> Programs:
    """The programs of every host.

    Args:
        spec: the deployment.
        directory: what relative paths are relative to.

    Raises:
        InventoryFileError: if an archive cannot be read, or is not the declared one.
    """
    return {
        host.name: {
            name: Program(program, _archive(program, directory, f"hosts[{index}].programs.{name}"))
            for name, program in host.every_program.items()
        }
        for index, host in enumerate(spec.hosts)
    }


def fetch_archive(archive: ProgramArchive, report: Report) -> LocalFile:
    """The archive as a file of this machine: fetched once, and checked.

    Raises:
        ProgramError: if it does not come, or is another one than declared.
    """
    if archive.file is not None:
        return archive.file
    path = user_cache() / "programs" / archive.sha256
    if not path.is_file():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        report(f"fetching {archive.url} to this machine")
        _fetch(archive, path)
    return LocalFile(path, path.stat().st_size, archive.sha256)


def _fetch(archive: ProgramArchive, path: Path) -> None:
    # takes long, and most runs fetch nothing
    import httpx

    from deploy.outward import open_client

    part, digest = path.with_name(f"{path.name}.{os.getpid()}.part"), hashlib.sha256()
    try:
        with (
            open_client(follow_redirects=True, timeout=TIMEOUT_SECONDS) as client,
            client.stream("GET", archive.url, headers={"Accept-Encoding": "identity"}) as reply,
            part.open("wb") as target,
        ):
            reply.raise_for_status()
            for chunk in reply.iter_raw(CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
        if digest.hexdigest() != archive.sha256:
            raise ProgramError(
                Problem(
                    archive.url,
                    f"what came has sha256 {digest.hexdigest()}",
                    f"the declared one, {archive.sha256}",
                    "compare both with the release's page; do not run what you do not know",
                )
            )
        part.replace(path)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        fix = "fetch it by hand, and declare its path as archive"
        raise ProgramError(Problem(archive.url, f"cannot be fetched: {error}", fix=fix)) from None
    finally:
        part.unlink(missing_ok=True)


def _archive(program: ProgramSpec, directory: Path, setting: str) -> ProgramArchive | None:
    if program.archive is None:
        return None
    if program.is_fetched:
        return ProgramArchive(sha256=str(program.sha256), url=program.archive)
    path = (directory / program.archive).absolute()
    try:
        file = read_local_file(path)
        if not tarfile.is_tarfile(path):
            raise InventoryFileError(
                Problem(setting, f"{path} is not an archive", "a .tar.gz or .tar")
            )
    except OSError as error:
        found = f"cannot read {path}: {error.strerror}"
        raise InventoryFileError(
            Problem(setting, found, fix="give the path of an archive")
        ) from None
    if program.sha256 not in {None, file.sha256}:
        raise InventoryFileError(
            Problem(setting, f"{path} has sha256 {file.sha256}", f"the declared {program.sha256}")
        )
    return ProgramArchive(sha256=file.sha256, file=file)
