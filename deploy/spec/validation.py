"""Validation of what is declared, and its errors in Atelier's own words."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from deploy.errors import Problem, SpecError
from deploy.spec.base import Spec
from deploy.spec.secrets import without_secrets

SpecType = TypeVar("SpecType", bound=Spec)
ALLOWED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "byte_size": "a size such as 512MiB or 8GiB",
    "byte_size_unit": "a size such as 512MiB or 8GiB",
    "date_from_datetime_inexact": "a date such as 2026-12-31",
    "date_from_datetime_parsing": "a date such as 2026-12-31",
    "date_type": "a date such as 2026-12-31",
    "dict_type": "a mapping of names to values",
    "finite_number": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "int_type": "a whole number",
    "invalid_key": "settings by name",
    "ip_v4_address": "an IPv4 address such as 127.0.0.1, or 0.0.0.0 for every interface",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "path_type": "a path in quotes",
    "string_type": "text in quotes",
    "string_unicode": "text in quotes",
    "tuple_type": "a list",
}
"""What may be there instead, by pydantic's name for what is wrong."""
MOST_SHOWN = 200
"""Characters of a wrong value, which may be a whole file."""


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


def refuse_unnamed(model: type[Spec], values: tuple[Any, ...]) -> None:
    """Refuse values that were given without the name of a setting.

    Raises:
        SpecError: without quoting them.
    """
    if values:
        count = "1 value" if len(values) == 1 else f"{len(values)} values"
        allowed = f"its settings by name: {', '.join(_settings(model))}"
        title = model.__name__.removesuffix("Spec")
        raise SpecError(Problem(title, f"{count} without a name", allowed))


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
    location = tuple(step for step in details["loc"] if step != "[key]")
    path = format_path((root, *location) if root else location) or _title(model)
    context = details.get("ctx", {})
    found = _found(model, details)
    match details["type"]:
        case "refused":
            refused = without_secrets(context["found"])
            return Problem(path, refused, context["allowed"], context["fix"])
        case "extra_forbidden":
            return _unknown_setting(model, location, path)
        case "too_short":
            return Problem(path, "nothing declared", f"at least {context['min_length']}")
        case "missing":
            return Problem(path, "not set", fix="this setting is required: declare it")
        case "literal_error" | "enum":
            allowed = str(context["expected"]).replace("'", "").replace(" or ", ", ")
            fix = _did_you_mean(details["input"], allowed.split(", "))
            return Problem(path, found, allowed, fix)
        case "model_type":
            settings = ", ".join(_settings(_annotation_at(model, location)))
            return Problem(path, found, f"its settings by name: {settings}")
        case kind:
            limits = {name: _whole(value) for name, value in context.items()}
            allowed = ALLOWED[kind].format_map(limits) if kind in ALLOWED else details["msg"]
            return Problem(path, found, allowed)


def _whole(limit: Any) -> Any:
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def _title(model: type[Spec]) -> str:
    return model.__name__.removesuffix("Spec").lower()


def _found(model: type[Spec], details: ErrorDetails) -> str:
    """What was declared, or its type alone where it may be a secret."""
    is_key = details["loc"][-1:] == ("[key]",)
    hidden = any(
        part.hide_values
        for length in range(len(details["loc"]) + 1)
        for part in _specs(_annotation_at(model, details["loc"][:length]))
    )
    value = details["input"]
    if hidden and not is_key and value is not None:
        return f"a {type(value).__name__}, not shown"
    return _shortened(without_secrets(repr(value)))


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}... ({len(text)} characters)"


def _unknown_setting(model: type[Spec], location: tuple[int | str, ...], path: str) -> Problem:
    settings = _settings(_annotation_at(model, location[:-1]))
    return Problem(
        path, "unknown setting", ", ".join(settings), _did_you_mean(location[-1], settings)
    )


def _did_you_mean(found: Any, allowed: list[str]) -> str:
    matches = difflib.get_close_matches(found, allowed, n=1) if isinstance(found, str) else []
    return f"did you mean {matches[0]!r}?" if matches else ""


def _annotation_at(model: Any, location: tuple[int | str, ...]) -> Any:
    """The type that is declared for the setting at ``location`` inside ``model``."""
    for step in location:
        fields = {
            name: field for part in _specs(model) for name, field in part.model_fields.items()
        }
        if isinstance(step, str) and step in fields:
            model = fields[step].annotation
    return model


def _settings(annotation: Any) -> list[str]:
    return sorted({name for part in _specs(annotation) for name in part.model_fields})


def _specs(annotation: Any) -> list[type[Spec]]:
    return [part for part in _parts(annotation) if _is_spec(part)]


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
