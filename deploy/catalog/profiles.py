"""Profiles: the defaults that suit a number of users."""

from __future__ import annotations

import difflib
from typing import Any

import yaml

from deploy.catalog.entry import DIRECTORY
from deploy.errors import Problem, SpecError

Settings = dict[str, Any]


def profile_names() -> list[str]:
    """The profiles there are."""
    return sorted(path.stem for path in (DIRECTORY / "profiles").glob("*.yaml"))


def with_profile(settings: Settings) -> Settings:
    """The operator's settings over the defaults of the profile that they name.

    Raises:
        SpecError: if there is no such profile.
    """
    name = settings.get("profile")
    if name is None:
        return settings
    if name not in profile_names():
        matches = difflib.get_close_matches(str(name), profile_names(), n=1)
        fix = f"did you mean {matches[0]!r}?" if matches else ""
        raise SpecError(Problem("profile", repr(name), ", ".join(profile_names()), fix))
    text = (DIRECTORY / "profiles" / f"{name}.yaml").read_text(encoding="utf-8")
    defaults = yaml.safe_load(text)
    merged = _merge(defaults, settings)
    if settings.get("routers") and "router" not in settings:
        # what a profile says of its router holds for both
        merged["routers"] = _merge_each(merged.pop("router", {}), settings["routers"])
    return merged


def _merge_each(default: Settings, declared: Any) -> Any:
    if not isinstance(declared, list | tuple):
        return declared
    return [_merge(default, each) if isinstance(each, dict) else each for each in declared]


def _merge(defaults: Settings, settings: Settings) -> Settings:
    merged = dict(defaults)
    for name, value in settings.items():
        default = merged.get(name)
        merged[name] = (
            _merge(default, value)
            if isinstance(default, dict) and isinstance(value, dict)
            else value
        )
    return merged
