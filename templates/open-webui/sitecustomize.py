"""Lets errors of Open WebUI's database show nothing of what people write.

Python runs this when it starts, because its directory is in PYTHONPATH
(https://docs.python.org/3/library/site.html#module-sitecustomize).

SQLAlchemy quotes what a failed statement was given, and Open WebUI logs the error: each statement
that PostgreSQL ends, e.g. because it stops, would write a part of a chat into the log. Open WebUI
does not set ``hide_parameters``: https://docs.sqlalchemy.org/en/20/core/engines.html
"""

from __future__ import annotations

from contextlib import suppress
from functools import wraps
from typing import Any


def hide_parameters(engine: Any) -> None:
    """Let all engines that are made from now on say no parameters."""
    make = engine.__init__

    @wraps(make)
    def make_silent(self: Any, *args: Any, **settings: Any) -> None:
        make(self, *args, **settings)
        self.hide_parameters = True

    engine.__init__ = make_silent


# another Python of the image may not have it
with suppress(ImportError):
    from sqlalchemy.engine import Engine

    hide_parameters(Engine)
