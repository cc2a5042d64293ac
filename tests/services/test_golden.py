"""The demo's containers and files, whole, as they were last looked at.

After an intended change: ``ATELIER_UPDATE_GOLDEN=1 pytest tests/services/test_golden.py``, and read
the difference before committing it. Content hashes of images are left out, so that a new version
of a Python package does not show up here.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.artefacts import Artefacts, make_artefacts
from deploy.inventory import load_inventory
from deploy.render import TEMPLATES
from deploy.spec import SecretName

ROOT = Path(__file__).parent.parent.parent
GOLDEN = Path(__file__).parent / "golden"
BUILT = re.compile(r"(atelier/[\w-]+:)[\w.]+-[0-9a-f]{8}\b")


def digest(name: SecretName) -> str:
    return f"hmac:{name}"


def compare(name: str, text: str) -> None:
    text = BUILT.sub(r"\1VERSION-HASH", text).replace(str(ROOT), "ROOT")
    path = GOLDEN / name
    if "ATELIER_UPDATE_GOLDEN" in os.environ:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def as_json(data: Any) -> str:
    return json.dumps(data, indent=2) + "\n"


@pytest.fixture(scope="module")
def demo() -> Artefacts:
    declared = load_inventory(ROOT / "inventories" / "demo.py")
    return make_artefacts(declared.spec, declared.directory)


def test_components(demo: Artefacts) -> None:
    components = [component.model_dump(mode="json") for component in demo.stack.components]
    for component in components:
        # what is copied as it is has tests of its own
        (component["config"] or {"files": {}})["files"].pop("atelier_hooks.py", None)
    compare("components.json", as_json(components))


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
    hooks = TEMPLATES / "litellm" / "atelier_hooks.py"
    assert files.pop("litellm.atelier_hooks.py") == hooks.read_text()
    assert list(files) == ["litellm.config.yaml"]
    for name, content in files.items():
        compare(name, content)
