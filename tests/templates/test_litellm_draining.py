"""Replicas that are being replaced."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

GROUP = [{"model_info": {"id": name}} for name in ("a", "b")]


def put_away(directory: Path, name: str, until: float, *replicas: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"{until:.0f} {' '.join(replicas)}\n")


def filtered(module: Any, directory: Path, **request: Any) -> list[str]:
    hooks = module.Hooks(module.Priorities({}, {}), module.Draining(directory))
    rows = asyncio.run(hooks.async_filter_deployments("tiny", GROUP, None, request))
    return [row["model_info"]["id"] for row in rows]


def test_a_replica_that_is_being_replaced_gets_no_requests(module: Any, tmp_path: Path) -> None:
    assert filtered(module, tmp_path / "none") == ["a", "b"]
    soon = time.time() + 60
    put_away(tmp_path, "engine-a", soon, "a", "a-adapter")
    put_away(tmp_path, ".engine-b", soon, "b")
    assert filtered(module, tmp_path) == ["b"]


def test_a_run_that_was_killed_keeps_nobody_away_for_ever(module: Any, tmp_path: Path) -> None:
    put_away(tmp_path, "engine-a", time.time() - 1, "a")
    (tmp_path / "engine-b").write_text("")
    assert filtered(module, tmp_path) == ["a", "b"]


def test_requests_wait_where_every_replica_is_being_replaced(module: Any, tmp_path: Path) -> None:
    put_away(tmp_path, "engine-a", time.time() + 60, "a")
    put_away(tmp_path, "engine-b", time.time() + 60, "b")
    hooks = module.Hooks(module.Priorities({}, {}), module.Draining(tmp_path))

    async def wait() -> Any:
        asking = asyncio.create_task(hooks.async_filter_deployments("tiny", GROUP, None, {}))
        await asyncio.sleep(0.4)
        assert not asking.done()
        (tmp_path / "engine-b").unlink()
        return await asyncio.wait_for(asking, 10)

    assert asyncio.run(wait()) == [GROUP[1]]


def test_a_request_that_failed_on_all_does_not_wait(module: Any, tmp_path: Path) -> None:
    assert filtered(module, tmp_path, _excluded_deployment_ids=["a", "b"]) == []
