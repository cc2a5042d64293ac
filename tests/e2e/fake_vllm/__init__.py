"""A stand-in for vLLM's image: it takes vLLM's arguments, answers, and refuses a full GPU."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

from deploy.catalog import load_catalog
from deploy.images import make_build_plan
from deploy.images.builder import build_base, image_lock

FILES = ("Dockerfile", "gpu_memory.py", "server.py")
DIRECTORY = Path(__file__).parent


def build() -> str:
    """Build the image unless it is there; its tag is a digest of what it is built from."""
    base = make_build_plan("litellm", load_catalog()).base
    context = {name: (DIRECTORY / name).read_bytes() for name in FILES}
    digest = hashlib.sha256(base.tag.encode() + b"".join(context.values())).hexdigest()[:8]
    reference = f"atelier-test/vllm:{digest}"
    with image_lock(reference):
        if subprocess.run(
            ["docker", "image", "inspect", reference], capture_output=True
        ).returncode:
            build_base(base, report=lambda _line: None)
            _build(reference, base.tag, context)
    return reference


def _build(reference: str, base: str, context: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in context.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    subprocess.run(
        ["docker", "image", "build", "--build-arg", f"BASE={base}", "--tag", reference, "-"],
        input=buffer.getvalue(),
        check=True,
        capture_output=True,
    )
