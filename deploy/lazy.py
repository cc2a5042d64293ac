"""Packages whose names are imported when they are first used: a command pays for what it uses."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType


def export_lazily(package: str, origins: Mapping[str, str]) -> None:
    """Let ``package`` offer names that live in other modules, without importing those.

    Properties of the package's class, not ``__getattr__``: importing a submodule binds it in the
    package, which would hide a name that is spelt the same.

    Args:
        package: the package's name.
        origins: the module of each name.
    """
    words = {name: _word(name, module) for name, module in origins.items()}
    sys.modules[package].__class__ = type("LazyPackage", (ModuleType,), words)


def _word(name: str, module: str) -> property:
    return property(
        lambda _package: getattr(import_module(module), name),
        lambda _package, _submodule: None,
    )
