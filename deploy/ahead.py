"""What a run needs next is read while it waits for its hosts."""

from __future__ import annotations

from functools import cache
from importlib import import_module

import gevent

from deploy.catalog import load_catalog

TO_LOOK = (
    *("deploy.sizing", "deploy.plan.make_plan", "deploy.artefacts"),
    *("deploy.tasks.precheck", "deploy.tasks.units"),
)
TO_ASK = ("httpx", "docker", "deploy.live.verify")
"""In small steps, in the order in which a run comes to them: what has arrived goes first."""


@cache
def read_ahead() -> None:
    """Begin with it, once; it goes on whenever nothing else can."""
    gevent.spawn(_read)


def _read() -> None:
    _import(TO_LOOK)
    gevent.idle()
    _ = load_catalog().models
    _import(TO_ASK)


def _import(modules: tuple[str, ...]) -> None:
    for name in modules:
        gevent.idle()
        import_module(name)
