"""A stand-in for vLLM's image: it takes vLLM's arguments, answers, and refuses a full GPU."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

from deploy.catalog import load_catalog
from deploy.images import ImageBuildPlan, build_images, make_build_plan

FILES = ("Dockerfile", "gpu_memory.py", "nodes.py", "server.py")
DIRECTORY = Path(__file__).parent


def build() -> str:
    """Build the image unless it is there; its tag is a digest of what it is built from."""
    base = make_build_plan("litellm", load_catalog()).base
    context = {name: (DIRECTORY / name).read_text() for name in FILES}
    client = version("huggingface_hub")
    for name, value in (("BASE", base.tag), ("HUGGINGFACE_HUB", client)):
        context["Dockerfile"] = context["Dockerfile"].replace(f"ARG {name}", f"ARG {name}={value}")
    digest = hashlib.sha256("".join(context.values()).encode()).hexdigest()[:8]
    plan = ImageBuildPlan("vllm", f"atelier-test/vllm:{digest}", base, context)
    build_images([plan], report=lambda _line: None)
    return plan.tag
