"""Reading a model's config.json with errors that name the key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from deploy.errors import ModelConfigError, Problem

FIX = "take config.json from the model's repository, unchanged"


class ConfigReader:
    """Typed access to a mapping; every refusal names the key, what was found and what may be."""

    def __init__(self, data: object, path: str = "config.json") -> None:
        if not isinstance(data, Mapping):
            raise self._error(path, data, "an object")
        self._data = data
        self._path = path

    def has(self, *names: str) -> bool:
        """Whether one of these keys is set and not null."""
        return self._find(names) is not None

    def integer(
        self, *names: str, default: int | None = None, minimum: int = 1, maximum: int = 10**7
    ) -> int:
        """The first of these keys that is set, a whole number within bounds."""
        found = self._find(names)
        if found is None:
            if default is None:
                raise self._missing(names, "a whole number")
            return default
        name, value = found
        is_whole = _is_number(value) and math.isfinite(value) and value == int(value)
        if not is_whole or not minimum <= value <= maximum:
            raise self.error(name, value, f"a whole number from {minimum} to {maximum}")
        return int(value)

    def number(self, name: str, default: float, minimum: float, maximum: float) -> float:
        """A number within bounds."""
        found = self._find((name,))
        if found is None:
            return default
        value = found[1]
        if not _is_number(value) or not minimum <= value <= maximum:
            raise self.error(name, value, f"a number from {minimum:g} to {maximum:g}")
        return float(value)

    def boolean(self, *names: str, default: bool) -> bool:
        """The first of these keys that is set, true or false."""
        found = self._find(names)
        if found is None:
            return default
        name, value = found
        if not isinstance(value, bool):
            raise self.error(name, value, "true or false")
        return value

    def text(self, *names: str, default: str | None = None) -> str:
        """The first of these keys that is set, a string."""
        found = self._find(names)
        if found is None:
            if default is None:
                raise self._missing(names, "a string")
            return default
        name, value = found
        if not isinstance(value, str):
            raise self.error(name, value, "a string")
        return value

    def items(self, name: str) -> tuple[Any, ...]:
        """A list, empty where it is not set."""
        value = self._data.get(name)
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            raise self.error(name, value, "a list")
        return tuple(value)

    def items_or_text(self, name: str) -> tuple[Any, ...] | str:
        """A list, or a string of letters; empty where it is not set."""
        value = self._data.get(name)
        return value if isinstance(value, str) else self.items(name)

    def is_in_use(self, name: str) -> bool:
        """Whether a key is set to anything but null, 0, false or an empty list."""
        return bool(self._data.get(name))

    def section(self, name: str) -> ConfigReader | None:
        """An object inside this one, or ``None`` where it is not set."""
        value = self._data.get(name)
        return None if value is None else ConfigReader(value, f"{self._path}.{name}")

    def values(self) -> tuple[Any, ...]:
        """The values of all keys."""
        return tuple(self._data.values())

    def names(self) -> tuple[str, ...]:
        """All keys."""
        return tuple(str(name) for name in self._data)

    def error(self, name: str, found: object, allowed: str) -> ModelConfigError:
        """The error that refuses the value of a key."""
        return self._error(f"{self._path}.{name}", found, allowed)

    def _find(self, names: tuple[str, ...]) -> tuple[str, Any] | None:
        for name in names:
            if self._data.get(name) is not None:
                return name, self._data[name]
        return None

    def _missing(self, names: tuple[str, ...], allowed: str) -> ModelConfigError:
        return ModelConfigError(Problem(f"{self._path}.{names[0]}", "not set", allowed, FIX))

    @staticmethod
    def _error(path: str, found: object, allowed: str) -> ModelConfigError:
        shown = repr(found)
        return ModelConfigError(
            Problem(path, shown if len(shown) <= 60 else shown[:57] + "...", allowed, FIX)
        )


def _is_number(value: object) -> bool:
    """Whether it is a number: to Python, booleans are numbers, too; in JSON they are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
