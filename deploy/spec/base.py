"""The base of everything declared, and the translation of its validation errors."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from deploy.errors import Problem, SpecError

SpecType = TypeVar("SpecType", bound="Spec")


class Spec(BaseModel):
    """Something an operator declares: immutable, and refusing settings it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def to_json(self) -> dict[str, Any]:
        """The declared values as plain data; what ``pyinfra debug-inventory`` prints."""
        return self.model_dump(mode="json")


def refusal(found: str, allowed: str = "", fix: str = "") -> PydanticCustomError:
    """The error a validator raises to refuse a value with Atelier's own words."""
    return PydanticCustomError(
        "refused", "{found}", {"found": found, "allowed": allowed, "fix": fix}
    )


def validate(model: type[SpecType], data: Any, root: str = "") -> SpecType:
    """Validate ``data`` as ``model``.

    Args:
        model: the kind of spec.
        data: a mapping of settings.
        root: what the paths in error messages start with.

    Raises:
        SpecError: with one problem per invalid setting.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = [_problem(model, details, root) for details in _own_errors(error)]
        raise SpecError(*problems) from None


def _own_errors(error: ValidationError) -> Iterator[ErrorDetails]:
    """The errors, without "too short" for a sequence whose items are what is wrong."""
    errors = error.errors(include_url=False)
    for details in errors:
        location = details["loc"]
        inside = any(
            other["loc"][: len(location)] == location for other in errors if other is not details
        )
        if not (details["type"] == "too_short" and inside):
            yield details


def _problem(model: type[Spec], details: ErrorDetails, root: str) -> Problem:
    location = details["loc"]
    path = format_path((root, *location) if root else location) or model.__name__
    context = details.get("ctx", {})
    match details["type"]:
        case "refused":
            return Problem(path, context["found"], context["allowed"], context["fix"])
        case "extra_forbidden":
            return _unknown_setting(model, location, path)
        case "too_short":
            return Problem(path, "nothing declared", f"at least {context['min_length']}")
        case "missing":
            return Problem(path, "not set", fix="this setting is required: declare it")
        case "literal_error" | "enum":
            found = details["input"]
            allowed = str(context["expected"]).replace("'", "").replace(" or ", ", ")
            return Problem(path, repr(found), allowed, _did_you_mean(found, allowed.split(", ")))
        case _:
            return Problem(path, repr(details["input"]), details["msg"])


def _unknown_setting(model: type[Spec], location: tuple[int | str, ...], path: str) -> Problem:
    settings = _settings_at(model, location[:-1])
    return Problem(
        path, "unknown setting", ", ".join(settings), _did_you_mean(location[-1], settings)
    )


def _did_you_mean(found: Any, allowed: list[str]) -> str:
    matches = difflib.get_close_matches(str(found), allowed, n=1)
    return f"did you mean {matches[0]!r}?" if matches else ""


def _settings_at(model: Any, location: tuple[int | str, ...]) -> list[str]:
    """The names of the settings that the spec at ``location`` inside ``model`` knows."""
    for step in location:
        candidates = [part for part in _parts(model) if _is_spec(part)]
        fields = {name: field for part in candidates for name, field in part.model_fields.items()}
        if isinstance(step, str) and step in fields:
            model = fields[step].annotation
    return sorted({name for part in _parts(model) if _is_spec(part) for name in part.model_fields})


def _parts(annotation: Any) -> list[Any]:
    """An annotation, or what is inside its unions, sequences and mappings."""
    if _is_spec(annotation):
        return [annotation]
    return [part for inner in typing.get_args(annotation) for part in _parts(inner)]


def _is_spec(annotation: Any) -> bool:
    return (
        isinstance(annotation, type)
        and not isinstance(annotation, types.GenericAlias)
        and issubclass(annotation, Spec)
    )


def format_path(location: tuple[int | str, ...]) -> str:
    """``("models", 0, "name")`` as ``models[0].name``."""
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path
