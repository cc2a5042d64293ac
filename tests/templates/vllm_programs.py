"""The programs of vLLM's container, which find each other in the directory where they are."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from deploy.render import TEMPLATES


def load_program(name: str) -> ModuleType:
    """One of them, with those that it imports."""
    directory = str(TEMPLATES / "vllm")
    sys.path.insert(0, directory)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(directory)
