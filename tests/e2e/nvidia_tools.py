"""NVIDIA's container toolkit, built from its Go module, and an NVML for cards that are not there.

Nothing of the toolkit is in this repository: the module proxy has its source, whose checksum the
Go command compares with the public log. What is built is kept in ``.cache``.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from deploy.images.builder import image_lock
from tests.e2e.names import PROJECT

MODULE = "github.com/NVIDIA/nvidia-container-toolkit"
VERSION = "v1.20.1"
PROGRAMS = ("nvidia-ctk", "nvidia-cdi-hook")
UNITS = ("nvidia-cdi-refresh.service", "nvidia-cdi-refresh.path")
DRIVER = "580.178.04"
NVML = Path(__file__).parent / "fake_nvml.c"
DIRECTORY = PROJECT / ".cache" / f"nvidia-container-toolkit-{VERSION}"


def build() -> Path:
    """The directory with the toolkit's programs and units; they are built unless they are there."""
    with image_lock(DIRECTORY.name):
        if not all((DIRECTORY / name).exists() for name in (*PROGRAMS, *UNITS)):
            _build()
    return DIRECTORY


def _build() -> None:
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    # what is linked finds NVML when it runs
    env = {**os.environ, "GOBIN": str(DIRECTORY), "GOFLAGS": "-mod=mod", "CGO_ENABLED": "1"}
    names = [f"{MODULE}/cmd/{name}@{VERSION}" for name in PROGRAMS]
    # as its Makefile does
    flags = f"-X={MODULE}/internal/info.version={VERSION.removeprefix('v')}"
    command = ["go", "install", "-ldflags", flags, *names]
    subprocess.run(command, env=env, cwd="/", check=True, capture_output=True)
    cache = _output("go", "env", "GOMODCACHE")
    source = Path(cache) / "github.com" / "!n!v!i!d!i!a" / f"nvidia-container-toolkit@{VERSION}"
    for name in UNITS:
        (DIRECTORY / name).write_text((source / "deployments" / "systemd" / name).read_text())


def nvml() -> Path:
    """The library that stands in for the driver's."""
    digest = hashlib.sha256(NVML.read_bytes() + DRIVER.encode()).hexdigest()[:8]
    library = PROJECT / ".cache" / f"fake-nvml-{digest}.so"
    if not library.exists():
        library.parent.mkdir(exist_ok=True)
        define = f'-DVERSION="{DRIVER}"'
        _output("cc", "-shared", "-fPIC", "-w", define, "-o", str(library), str(NVML))
    return library


def _output(*command: str) -> str:
    finished = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout.strip()
