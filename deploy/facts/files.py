"""Files of a host."""

from __future__ import annotations

import base64
import shlex

from pyinfra.api import FactBase


class Contents(FactBase[dict[str, str]]):
    """The text of files that hold no secrets, by path; for diffs."""

    def command(self, paths: list[str]) -> str:
        """Print each path and its content in base64, on two lines."""
        quoted = " ".join(shlex.quote(path) for path in paths)
        return (
            f'for f in {quoted}; do [ ! -f "$f" ] || {{ echo "$f"; base64 -w0 "$f"; echo; }}; done'
        )

    @staticmethod
    def default() -> dict[str, str]:
        """No files."""
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        """Decode the contents."""
        return {
            path: base64.b64decode(content).decode("utf-8", "replace")
            for path, content in zip(output[::2], output[1::2], strict=True)
        }


class FileSize(FactBase[int | None]):
    """Size of a file in bytes; ``None`` if there is none."""

    def command(self, path: str) -> str:
        """Print the size."""
        return f"[ ! -f {shlex.quote(path)} ] || stat -c %s {shlex.quote(path)}"

    def process(self, output: list[str]) -> int | None:
        """Parse the size."""
        return int(output[0]) if output else None
