"""How often an engine hung, read from its container."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import NotFound

from deploy.cli.status import hangs_text
from deploy.live.hangs import Hangs, read_hangs

WATCHED = ["/etc/atelier/hang_watch.py", "{}", "vllm", "serve", "m"]
WHY = "nothing has moved for 48 s"
SAID = {"times": 2, "at": "2026-11-29T00:40:12+00:00", "why": WHY}


def archive(text: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as files:
        info = tarfile.TarInfo("atelier-hang.json")
        info.size = len(text)
        files.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def container(command: list[str] | None, content: bytes | None) -> Any:
    """As docker's client gives it; ``None`` where there is no such file."""

    def get_archive(path: str) -> tuple[Iterator[bytes], dict[str, Any]]:
        assert path == "/tmp/atelier-hang.json"
        if content is None:
            raise NotFound("Could not find the file")
        return iter([content[:100], content[100:]]), {}

    return SimpleNamespace(attrs={"Config": {"Cmd": command}}, get_archive=get_archive)


def test_what_the_watch_wrote() -> None:
    found = read_hangs(container(WATCHED, archive(json.dumps(SAID))))
    assert found == Hangs(2, "2026-11-29T00:40:12+00:00", WHY)
    assert hangs_text(found) == f"hung: 2, last 2026-11-29 00:40:12 UTC: {WHY}"


@pytest.mark.parametrize(
    ("command", "content"),
    [
        (WATCHED, None),
        (WATCHED, archive("half of a rep")),
        (WATCHED, archive("{}")),
        (WATCHED, b"no archive"),
        (None, archive(json.dumps(SAID))),
        (["vllm", "serve"], archive(json.dumps(SAID))),
    ],
)
def test_one_that_never_hung_or_is_not_watched(
    command: list[str] | None, content: bytes | None
) -> None:
    assert read_hangs(container(command, content)) is None
