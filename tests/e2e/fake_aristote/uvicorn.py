"""Stands in for uvicorn: serves the stand-in of the sender, which is no ASGI application."""

from __future__ import annotations

from importlib import import_module


def run(app: str, *, host: str, port: int, access_log: bool, workers: int) -> None:
    """As ``templates/aristote/serve.py`` calls it."""
    assert (access_log, workers) == (False, 1)
    import_module(app.partition(":")[0]).serve(host, port)
