"""The rendered containers and files of the profiles.

``python -m tests.services.profiles`` writes them anew.
"""

import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

from deploy.artefacts import Artefacts, make_artefacts
from deploy.inventory import load_inventory
from deploy.spec import SecretText

ROOT = Path(__file__).parents[2]
GIVEN = {"AI_CLIENT_SECRET": "secret-of-the-provider"}
"""Secrets that inventories take from the environment."""
GOLDEN = Path(__file__).parent / "golden"
PROFILES = ("individual", "users_20", "users_100")


def digest(text: SecretText) -> str:
    """A digest that is the same everywhere."""
    return f"digest of {', '.join(text.secrets.values())}"


def artefacts_of(name: str) -> Artefacts:
    """Everything that an inventory renders to."""
    declared = load_inventory(ROOT / "inventories" / f"{name}.py")
    with mock.patch.dict(os.environ, GIVEN):
        return make_artefacts(declared.spec, declared.directory)


def rendered(artefacts: Artefacts) -> dict[str, Any]:
    """Containers, the arguments that create them, and files; the label is a test of its own."""
    containers = [unit.container for unit in artefacts.stack.units]
    return {
        container.name: {
            "spec": container.public(digest),
            "create_arguments": _without_labels(unit.create_arguments(artefacts.plan.name, digest)),
            "files": {
                name: str(file.content).splitlines()
                for name, file in unit.config.files.items()
                if name.endswith((".yaml", ".cfg", ".json"))  # the rest is copied as it is
            }
            if unit.config
            else {},
        }
        for unit, container in zip(artefacts.stack.units, containers, strict=True)
    }


def _without_labels(arguments: list[str]) -> list[str]:
    labels = {index for index, argument in enumerate(arguments) if argument == "--label"}
    return [
        argument
        for index, argument in enumerate(arguments)
        if index not in labels and index - 1 not in labels
    ]


def text_of(name: str) -> str:
    """The golden text of an inventory."""
    return json.dumps(rendered(artefacts_of(name)), indent=1) + "\n"
