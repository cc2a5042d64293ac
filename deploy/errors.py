"""Every error an operator can meet: what was found, what is allowed, and how to fix it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        path: the setting, host or container concerned, e.g. ``models[0].name``.
        found: what is there.
        allowed: what may be there; empty where the fix says it all.
        fix: what the operator does next.
    """

    path: str
    found: str
    allowed: str = ""
    fix: str = ""

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.found}"]
        if self.allowed:
            lines.append(f"    allowed: {self.allowed}")
        if self.fix:
            lines.append(f"    fix: {self.fix}")
        return "\n".join(lines)


class AtelierError(Exception):
    """An error that the operator can fix; it is shown without a traceback."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems

    @property
    def message(self) -> str:
        """The text that pyinfra shows when it wraps this error."""
        return str(self)

    @property
    def in_one_line(self) -> str:
        """What was found and what is allowed, for a cell of a table."""
        return "; ".join(
            f"{problem.path}: {problem.found}"
            + (f" ({problem.allowed})" if problem.allowed else "")
            for problem in self.problems
        )


class InventoryFileError(AtelierError):
    """The inventory file cannot be read, or declares no deployment."""


class SpecError(AtelierError):
    """The declared deployment is not valid."""


class CatalogError(AtelierError):
    """A catalogue file of this installation is not valid."""


class ProgramError(AtelierError):
    """A program cannot be fetched to this machine."""


class ModelConfigError(AtelierError):
    """A model's config.json cannot be read, or contradicts itself."""


class UnsupportedModelError(AtelierError):
    """A model whose memory cannot be worked out honestly; it is declined rather than guessed."""


class PlanError(AtelierError):
    """The declared deployment is valid, but cannot be carried out as declared."""


class SecretError(AtelierError):
    """A secret cannot be resolved, or its value cannot be used."""


class HostError(AtelierError):
    """A host is not in a state that can be deployed to."""


class ConnectionFailedError(AtelierError):
    """Docker on a host cannot be reached."""


class ImageBuildError(AtelierError):
    """An image could not be built."""


class ServiceError(AtelierError):
    """A deployed service does not answer as it should."""


class PeopleError(AtelierError):
    """Somebody cannot be given what was asked for, or has it already."""


def either(names: Iterable[str]) -> str:
    """Names of which any one will do: ``a, b or c``."""
    return _listed(names, "or")


def every(names: Iterable[str]) -> str:
    """Names that all are meant: ``a, b and c``."""
    return _listed(names, "and")


def _listed(names: Iterable[str], word: str) -> str:
    given = list(names)
    if len(given) < 2:
        return "".join(given)
    return f"{', '.join(given[:-1])} {word} {given[-1]}"


@contextmanager
def collecting(errors: list[AtelierError]) -> Iterator[None]:
    """Go on after an error: what else is wrong is told with it.

    Args:
        errors: it is added to these.
    """
    try:
        yield
    except AtelierError as error:
        errors.append(error)


def raise_together(errors: list[AtelierError]) -> None:
    """Raise what was collected as one error, if there is any.

    Raises:
        AtelierError: of the first one's kind, with the problems of all.
    """
    if errors:
        raise type(errors[0])(*(problem for error in errors for problem in error.problems))
