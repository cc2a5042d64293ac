"""Whether a container ended by itself and was started again; what the table says of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.cli.status import restarts_text
from deploy.live.restarts import NEVER, Restarts, read_restarts
from deploy.live.status import read_status
from tests.live.fake_engine import FakeEngine, running, use

ROUTER = "demo-litellm-0"
ENDED = {"StartedAt": "2026-11-28T16:28:11.8Z", "FinishedAt": "2026-11-28T16:28:09.6Z"}


class Events:
    """As a client whose Docker remembers these exit statuses."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = statuses
        self.asked: dict[str, Any] = {}

    def events(self, **asked: Any) -> Iterator[dict[str, Any]]:
        self.asked = asked
        for status in self.statuses:
            yield {"Actor": {"Attributes": {"exitCode": str(status)}}}


def container(count: int, **state: Any) -> dict[str, Any]:
    default = {"Status": "running", "ExitCode": 0, "OOMKilled": False}
    return {"Id": "abc", "RestartCount": count, "State": default | ENDED | state}


@pytest.mark.parametrize(
    ("attributes", "remembered", "found"),
    [
        (container(0), (139,), NEVER),
        (container(2), (1, 139), Restarts(2, 139)),
        (container(1), (), Restarts(1)),
        (container(1, OOMKilled=True), (137,), Restarts(1, 137, out_of_memory=True)),
        (container(3, Status="restarting", ExitCode=3), (), Restarts(3, 3)),
        (container(0, Status="exited", ExitCode=1), (), Restarts(0, 1)),
        ({"State": {"Status": "running"}}, (), NEVER),
    ],
)
def test_how_often_and_why(
    attributes: dict[str, Any], remembered: tuple[int, ...], found: Restarts
) -> None:
    client: Any = Events(*remembered)
    assert read_restarts(attributes, client) == found


def test_docker_is_asked_for_the_moment_of_the_end(demo: Artefacts) -> None:
    client: Any = Events(139)
    read_restarts(container(1), client)
    assert client.asked["since"] < client.asked["until"] <= client.asked["since"] + 3
    assert client.asked["since"] == 1795883288
    assert client.asked["filters"] == {"container": "abc", "event": "die"}


def test_status_shows_them_and_is_still_ok(
    demo: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = running(demo)
    engine.running[ROUTER].attrs |= {"Id": "abc", "RestartCount": 2}
    engine.running[ROUTER].attrs["State"] |= ENDED
    monkeypatch.setattr(FakeEngine, "events", Events(139).events, raising=False)
    use(engine, monkeypatch, "deploy.live.status")
    first, router = list(read_status(demo))[:2]
    assert (first.restarts, router.restarts) == (NEVER, Restarts(2, 139))
    assert router.ok


@pytest.mark.parametrize(
    ("restarts", "text"),
    [
        (NEVER, ""),
        (Restarts(1), "restarted: 1"),
        (Restarts(1, 0), "restarted: 1, exit status 0"),
        (Restarts(2, 139), "restarted: 2, exit status 139 (SIGSEGV)"),
        (Restarts(2, 255), "restarted: 2, exit status 255"),
        (Restarts(1, 137, out_of_memory=True), "restarted: 1, out of memory"),
        (Restarts(0, 1), "exit status 1"),
    ],
)
def test_what_the_table_says(restarts: Restarts, text: str) -> None:
    assert restarts_text(restarts) == text
