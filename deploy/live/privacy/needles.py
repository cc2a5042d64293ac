"""What is looked for: marks that requests carry, and the keys that they were sent with."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

WORD = "atelierprivacy"
SHORTEST = 8
"""Shorter secrets would be found by chance."""


@dataclass(frozen=True)
class Mark:
    """A word that nothing else has; three more digits say which request carried it."""

    word: str
    requests: list[str] = field(default_factory=list)
    """What each of them was, by its number."""

    @classmethod
    def new(cls) -> Mark:
        """Another one for each search."""
        return cls(WORD + secrets.token_hex(8))

    def carried_by(self, request: str) -> str:
        """The mark of one request."""
        self.requests.append(request)
        return f"{self.word}{len(self.requests) - 1:03x}"

    def request(self, number: str) -> str:
        """Which request carried the mark with these digits."""
        index = int(number, 16)
        return self.requests[index] if index < len(self.requests) else ""


@dataclass(frozen=True, order=True)
class Hit:
    """What was found: no text of it."""

    what: str
    """``prompt``, or the name of a secret."""
    request: str = ""
    """Of a prompt: the request that carried it."""


@dataclass(frozen=True)
class Needles:
    """Everything that is looked for."""

    mark: Mark
    keys: Mapping[str, str] = field(repr=False)
    """Secrets by name."""

    def search(self) -> Search:
        """A search through one place."""
        return Search(self)

    def prompt(self, number: str) -> Hit:
        """What was found where a mark with these digits was."""
        return Hit("prompt", self.mark.request(number))

    @property
    def forms(self) -> list[tuple[str, Hit]]:
        """How marks and secrets that are long enough may be written.

        Marks as they are are not among them: their digits say more.
        """
        secrets = [
            (form, Hit(name))
            for name, value in self.keys.items()
            if len(value) >= SHORTEST
            for form in (value, *encoded(value))
        ]
        return [*secrets, *self.mark_forms]

    @property
    def mark_forms(self) -> list[tuple[str, Hit]]:
        """Those of marks alone."""
        return [(form, Hit("prompt")) for form in encoded(self.mark.word)]


class Search:
    """Looks through bytes as they come; keeps nothing of them but the last few.

    It also finds what is written in one of its other forms.
    """

    def __init__(self, needles: Needles) -> None:
        self._needles = needles
        self._mark = re.compile(re.escape(needles.mark.word.encode()) + rb"([0-9a-f]{3})")
        self._others = {form.encode(): hit for form, hit in needles.forms}
        self._overlap = max(map(len, self._others), default=0) + len(needles.mark.word) + 3
        self._before = b""
        self.found: set[Hit] = set()
        self.bytes_read = 0

    def feed(self, chunk: bytes) -> None:
        """Look through the next bytes."""
        self.bytes_read += len(chunk)
        text = self._before + chunk
        for number in self._mark.findall(text):
            self.found.add(self._needles.prompt(number.decode()))
        self.found.update(hit for form, hit in self._others.items() if form in text)
        self._before = text[-self._overlap :]

    def feed_all(self, chunks: Iterable[bytes], most_bytes: int) -> bool:
        """Look through all of them, or so many bytes; whether that was all."""
        for chunk in chunks:
            self.feed(chunk)
            if self.bytes_read >= most_bytes:
                return False
        return True


def encoded(text: str) -> Iterable[str]:
    """How a text is written in JSON, in an address, in hexadecimal digits, and in base64."""
    others = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], quote(text, "")}
    yield from sorted(others - {text})
    value = text.encode()
    yield value.hex()
    for shift in range(3):
        # where it stands in a longer text decides on its letters, but not in its middle
        letters = base64.b64encode(b"\0" * shift + value).decode()
        first = (shift * 8 + 5) // 6
        last = (shift + len(value)) * 8 // 6
        yield letters[first:last]
