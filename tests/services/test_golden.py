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
from deploy.render import TEMPLATES
from deploy.spec import SecretText
from tests.golden import assert_golden

pytestmark = pytest.mark.golden
ROOT = Path(__file__).parent.parent.parent
GOLDEN = Path(__file__).parent / "golden"
BUILT = re.compile(r"(atelier/[\w-]+:)[\w.]+-[0-9a-f]{8}\b")


def digest(text: SecretText) -> str:
    return f"hmac:{', '.join(text.secrets.values())}"


def compare(name: str, text: str) -> None:
    text = BUILT.sub(r"\1VERSION-HASH", text).replace(str(ROOT), "ROOT")
    assert_golden(GOLDEN / name, text)


def as_json(data: Any) -> str:
    return json.dumps(data, indent=2) + "\n"


HOOKS = sorted((TEMPLATES / "litellm").glob("atelier_*.py"))


@pytest.fixture(scope="module")
def demo() -> Artefacts:
    declared = load_inventory(ROOT / "inventories" / "demo.py")
    return make_artefacts(declared.spec, declared.directory)


def test_units(demo: Artefacts) -> None:
    units = [unit.model_dump(mode="json", exclude_defaults=True) for unit in demo.stack.units]
    for unit in units:
        # what is copied as it is has tests of its own
        files = unit.get("config", {"files": {}})["files"]
        for path in HOOKS:
            files.pop(path.name, None)
    compare("units.json", as_json(units))


def test_create_arguments(demo: Artefacts) -> None:
    arguments = {unit.name: unit.create_arguments("demo", digest) for unit in demo.stack.units}
    compare("create_arguments.json", as_json(arguments))


def test_files(demo: Artefacts) -> None:
    files = {
        f"{unit.container.service}.{name}": str(file.content)
        for unit in demo.stack.units
        if unit.config
        for name, file in unit.config.files.items()
    }
    for path in HOOKS:
        assert files.pop(f"litellm.{path.name}") == path.read_text()
    silence = TEMPLATES / "open-webui" / "sitecustomize.py"
    assert files.pop(f"open-webui.{silence.name}") == silence.read_text()
    assert sorted(files) == ["litellm.atelier.json", "litellm.config.yaml"]
    for name, content in files.items():
        compare(name, content)
