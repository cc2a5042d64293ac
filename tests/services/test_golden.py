"""The demo's containers and files, whole, as they were last looked at.

After an intended change: ``make golden``, and read the difference before committing it. Content
hashes of images are left out, so that a new version of a Python package does not show up here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.artefacts import Artefacts, make_artefacts
from deploy.inventory import load_inventory
from deploy.spec import SecretName
from tests.golden import assert_golden

pytestmark = pytest.mark.golden
ROOT = Path(__file__).parent.parent.parent
GOLDEN = Path(__file__).parent / "golden"
BUILT = re.compile(r"(atelier/[\w-]+:)[\w.]+-[0-9a-f]{8}\b")


def digest(name: SecretName) -> str:
    return f"hmac:{name}"


def compare(name: str, text: str) -> None:
    text = BUILT.sub(r"\1VERSION-HASH", text).replace(str(ROOT), "ROOT")
    assert_golden(GOLDEN / name, text)


def as_json(data: Any) -> str:
    return json.dumps(data, indent=2) + "\n"


@pytest.fixture(scope="module")
def demo() -> Artefacts:
    declared = load_inventory(ROOT / "inventories" / "demo.py")
    return make_artefacts(declared.spec, declared.directory)


def test_components(demo: Artefacts) -> None:
    compare("components.json", as_json([c.model_dump(mode="json") for c in demo.stack.components]))


def test_create_arguments(demo: Artefacts) -> None:
    specs = [component.container for component in demo.stack.components]
    arguments = {spec.name: spec.create_arguments("demo", digest) for spec in specs}
    compare("create_arguments.json", as_json(arguments))


def test_files(demo: Artefacts) -> None:
    files = {
        f"{component.container.service}.{name}": file.content
        for component in demo.stack.components
        if component.config
        for name, file in component.config.files.items()
    }
    assert list(files) == ["litellm.config.yaml"]
    for name, content in files.items():
        compare(name, content)
