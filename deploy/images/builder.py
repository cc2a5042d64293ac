"""Builds images on this machine's Docker: bases first, independent ones in parallel."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from deploy.errors import ImageBuildError, Problem
from deploy.images.build_plan import BaseBuildPlan, ImageBuildPlan
from deploy.services.container import CLIENT_SETTINGS, PROXIES

Report = Callable[[str], None]

CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
CA_FILE = "extra-ca.crt"
"""Name of this machine's CA bundle in a build context; Dockerfiles use it in build stages only."""
BUILD_ARGUMENTS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "NPM_CONFIG_REGISTRY", "GOPROXY")
"""Environment variables of this machine that builds see, where they are set; so are its proxies."""
STEP = re.compile(r"(Step (?P<step>\d+/\d+) : RUN|#\d+ \[.*?(?P<kit>\d+/\d+)\] RUN)")
"""A command that runs in a build, as the classic builder and BuildKit announce it."""


def build_images(plans: Iterable[ImageBuildPlan], report: Report) -> None:
    """Build what the engine does not have yet.

    Args:
        plans: the images to build.
        report: called with a line about each step.

    Raises:
        ImageBuildError: with the last lines of the build that failed.
    """
    wanted = list(plans)
    bases = {plan.base.tag: plan.base for plan in wanted}
    with ThreadPoolExecutor(max_workers=max(len(wanted), 1)) as pool:
        base_builds = {tag: pool.submit(build_base, base, report) for tag, base in bases.items()}

        def build(plan: ImageBuildPlan) -> None:
            base_builds[plan.base.tag].result()
            _build_once(plan.tag, partial(_build_image, plan, report))

        # threads that wait for a base must not keep the base from starting
        with ThreadPoolExecutor(max_workers=max(len(wanted), 1)) as waiting:
            for result in [waiting.submit(build, plan) for plan in wanted]:
                result.result()


def build_base(base: BaseBuildPlan, report: Report) -> None:
    """Make a root file system that the engine does not have yet."""
    _build_once(base.tag, partial(_build_base, base, report))


def _build_once(tag: str, build: Callable[[], None]) -> None:
    if _exists(tag):
        return
    with image_lock(tag):
        if not _exists(tag):
            build()


@contextmanager
def image_lock(tag: str) -> Iterator[None]:
    """Let processes that need the same image wait for the one that builds it."""
    from filelock import FileLock

    image = re.sub(r"[^\w.-]+", "-", tag)
    # below /tmp, not below the home directory, which one user may have several of
    path = Path(tempfile.gettempdir()) / f"atelier-{os.getuid()}-build-{image}.lock"
    with FileLock(path, poll_interval=0.5):
        yield


def _build_base(base: BaseBuildPlan, report: Report) -> None:
    report(f"{base.tag}: unpacking Debian {base.entry.suite} and its packages")
    started = time.monotonic()
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(base.entry.packages)}"]
    if not base.entry.check_valid_until:
        command.append('--aptopt=Acquire::Check-Valid-Until "false"')
    if shutil.which(command[0]) is None:
        raise ImageBuildError(
            Problem(
                f"image {base.tag}", "mmdebstrap is not installed", fix="install it with apt-get"
            )
        )
    with subprocess.Popen(
        [*command, base.entry.suite, "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # root's files of the image, for all its users
        umask=0o022,
    ) as bootstrap:
        imported = subprocess.run(
            ["docker", "import", "-", base.tag],
            stdin=bootstrap.stdout,
            capture_output=True,
            env=_environment(),
        )
        messages = bootstrap.stderr.read().decode() if bootstrap.stderr else ""
    if bootstrap.returncode or imported.returncode:
        subprocess.run(["docker", "image", "rm", base.tag], capture_output=True)
        raise _failure(base.tag, (messages + imported.stderr.decode()).splitlines())
    report(f"{base.tag}: done in {time.monotonic() - started:.0f} s")


def _build_image(plan: ImageBuildPlan, report: Report) -> None:
    started = time.monotonic()
    command = ["docker", "image", "build", "--tag", plan.tag, *_build_arguments(), "-"]
    lines: deque[str] = deque(maxlen=30)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environment(),
    ) as build:
        assert build.stdin is not None  # noqa: S101 - a pipe, see above
        assert build.stdout is not None  # noqa: S101
        build.stdin.write(make_context(plan))
        build.stdin.close()
        for raw in build.stdout:
            line = raw.decode("utf-8", "replace").rstrip()
            lines.append(line)
            if step := STEP.match(line):
                report(f"{plan.name}: step {step['step'] or step['kit']}")
    if build.returncode:
        raise _failure(plan.tag, list(lines))
    report(f"{plan.name}: done in {time.monotonic() - started:.0f} s")


def _exists(tag: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", tag], capture_output=True).returncode == 0


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in CLIENT_SETTINGS}


def _build_arguments() -> list[str]:
    # named without a value, a proxy that is not set keeps that of Docker's client away, too
    names = [name for name in BUILD_ARGUMENTS if name in os.environ] + [*PROXIES]
    return [part for name in names for part in ("--build-arg", name)]


def make_context(plan: ImageBuildPlan) -> bytes:
    """The build context as a tar archive, this machine's CA bundle included."""
    files = {name: text.encode() for name, text in plan.context.items()}
    files[CA_FILE] = CA_BUNDLE.read_bytes() if CA_BUNDLE.exists() else b""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _failure(tag: str, lines: list[str]) -> ImageBuildError:
    return ImageBuildError(
        Problem(
            f"image {tag}",
            "the build failed; its last lines:\n" + "\n".join(f"      {line}" for line in lines),
            fix="fix what the last line says and run the deployment again",
        )
    )
