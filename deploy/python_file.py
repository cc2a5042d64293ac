"""Python that operators write: what is wrong with it is told with its place."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from pathlib import Path
from types import TracebackType

from deploy.errors import Problem


def python_problem(path: Path, error: BaseException) -> Problem:
    """What Python says of a file, and in which line of it, or of a file that it uses.

    Args:
        path: the file that was run.
        error: what that ended with.
    """
    found = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, OSError) and error.filename in {str(path), os.fsencode(path)}:
        return Problem(str(path), f"cannot be read: {error.strerror}", "a file that you may read")
    if isinstance(error, UnicodeDecodeError) and not _place(error.__traceback__):
        return Problem(str(path), "cannot be read: not UTF-8 text", "a Python file")
    if isinstance(error, SyntaxError):
        found = f"{type(error).__name__}: {error.msg}"
        place = (error.filename or str(path), error.lineno)
    else:
        place = _place(error.__traceback__) or (str(path), None)
    file, line = Path(place[0]), place[1]
    fix = "correct the inventory file" if file == path else f"correct {file.name}, which it uses"
    return Problem(f"{file}, line {line}" if line else str(file), found, _allowed(error), fix)


def _allowed(error: BaseException) -> str:
    if isinstance(error, ImportError) and error.name == "deploy":
        return ", ".join(sys.modules["deploy"].__all__)
    return ""


def _place(trace: TracebackType | None) -> tuple[str, int | None] | None:
    """The last place in files of the operator's own."""
    libraries = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    others = [Path(path).resolve() for path in (*libraries, str(Path(__file__).parent))]
    own = [each for each in traceback.extract_tb(trace) if _is_own(each.filename, others)]
    return (own[-1].filename, own[-1].lineno) if own else None


def _is_own(file: str, others: list[Path]) -> bool:
    return not file.startswith("<") and not any(map(Path(file).resolve().is_relative_to, others))
