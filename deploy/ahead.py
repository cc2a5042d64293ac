"""What a run needs next is read while it waits for its hosts."""

from __future__ import annotations

from functools import cache
from importlib import import_module

import gevent

from deploy.catalog import load_catalog

TO_LOOK = (
    *("deploy.sizing", "deploy.plan.make_plan", "deploy.artefacts"),
    *("deploy.tasks.precheck", "deploy.tasks.units", "deploy.tasks.people"),
    *("deploy.tasks.docker", "deploy.tasks.drivers", "deploy.tasks.mac"),
)
TO_ASK = ("httpx", "deploy.live.early_login")
"""In small steps, in the order in which a run comes to them: what has arrived goes first."""


@cache
def read_ahead(models: tuple[str, ...]) -> None:
    """Begin with it, once; it goes on whenever nothing else can.

    Args:
        models: names of the declared models.
    """
    gevent.spawn(_read, models)


def _read(models: tuple[str, ...]) -> None:
    _import(TO_LOOK)
    catalog = load_catalog()
    gevent.idle()
    _ = catalog.images
    for name in models:
        gevent.idle()
        catalog.models.get(name)
    _import(TO_ASK)


def _import(modules: tuple[str, ...]) -> None:
    for name in modules:
        gevent.idle()
        import_module(name)
