"""The engines' key is read anew for each request: another one needs no other container.

While engines are given another key, both are tried.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

KEY_PLACE = "Bearer engine-key"
"""What config.yaml has in the place of the engines' key."""


class EngineKeys:
    """The keys that engines may have, the one that they should have first."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> list[str]:
        """What the file holds now: it is replaced as a whole."""
        try:
            return self._file.read_text().split()
        except OSError:
            return []

    async def ask(self, send: Callable[[], Any], headers: Any) -> Any:
        """Send a request with the first key that the engine takes."""
        keys = self.read() if headers.get("authorization") == KEY_PLACE else []
        for key in keys[:-1]:
            headers["authorization"] = f"Bearer {key}"
            response = await send()
            if response.status_code != 401:
                return response
            await response.aclose()
        for key in keys[-1:]:
            headers["authorization"] = f"Bearer {key}"
        return await send()


def with_engine_key(handle: Callable[..., Any], keys: EngineKeys) -> Callable[..., Any]:
    """The engines' key is put where the configuration has a placeholder."""

    async def handled(self: Any, request: Any) -> Any:
        return await keys.ask(lambda: handle(self, request), request.headers)

    return handled
