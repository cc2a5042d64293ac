"""A stand-in for Aristote's images: its entry points, variables, tables, queues and messages.

Its programs are ours and small. They keep what Atelier has to live with: what an engine answers has
status 200, whatever it says, and a sender that has lost RabbitMQ is never ready again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from deploy.catalog import load_catalog
from deploy.images import ImageBuildPlan, build_images, make_build_plan

HERE = Path(__file__).parent
FILES = (
    "alembic.py",
    "broker.py",
    "consumer.py",
    "db.py",
    "entities.py",
    "sender.py",
    "settings.py",
)
BASE = "litellm"
"""An image with the base that this one has, too."""


def build() -> str:
    """Build the image unless it is there; its tag is a digest of what it is built from."""
    base = make_build_plan(BASE, load_catalog()).base
    context = {name: (HERE / name).read_text() for name in FILES}
    dockerfile = (HERE / "Dockerfile").read_text()
    context["Dockerfile"] = dockerfile.replace("ARG BASE\n", f"ARG BASE={base.tag}\n")
    digest = hashlib.sha256(json.dumps(context).encode()).hexdigest()[:8]
    plan = ImageBuildPlan("aristote", f"atelier-test/aristote:{digest}", base, context)
    build_images([plan], report=lambda _line: None)
    return plan.tag
