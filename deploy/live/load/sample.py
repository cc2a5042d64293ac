"""What was measured of one request."""

from __future__ import annotations

from dataclasses import dataclass, field

from deploy.live.load.workload import Use

ANSWERED, CANCELLED, UNFINISHED = "answered", "cancelled", "unfinished"
EMPTY = "answered without text"
"""Which a model may do, e.g. where there is nothing to complete."""
TOO_MANY = "too many requests (429)"
NO_CONNECTION, TIMED_OUT, CUT = "no connection", "timed out", "the stream was cut"
NO_JSON = "no JSON in the stream"


@dataclass
class Sample:
    """One request; times are in seconds since the load began."""

    use: Use
    begun: float
    first: float | None = None
    """When the first text came."""
    last: float | None = None
    """When the last text came."""
    ended: float = 0.0
    parts: int = 0
    """Events with text; engines send one for each token."""
    gaps: list[float] = field(default_factory=list)
    """Seconds between those."""
    tokens: int | None = None
    """Tokens of the answer, where the engine said so."""
    prompt_tokens: int | None = None
    outcome: str = UNFINISHED
    """One of those above, or what kind of error it was."""
    text: str = field(default="", repr=False)

    @property
    def written(self) -> int:
        """Tokens that came."""
        return self.parts if self.tokens is None else self.tokens

    @property
    def first_token_seconds(self) -> float | None:
        """How long the first text took."""
        return None if self.first is None else self.first - self.begun

    @property
    def tokens_per_second(self) -> float | None:
        """Speed once it had begun; ``None`` for answers too short to tell."""
        if self.first is None or self.last is None or self.last <= self.first or self.written < 3:
            return None
        return (self.written - 1) / (self.last - self.first)

    def came(self, now: float, text: str) -> None:
        """A part with text came."""
        if self.last is not None:
            self.gaps.append(now - self.last)
        else:
            self.first = now
        self.last = now
        self.parts += 1
        self.text += text
