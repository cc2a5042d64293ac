"""Whether an engine goes on with its work, by what it says of itself. Nothing is asked here.

It hangs if all of this is true for as long as it is allowed:

- none of its figures moved. All of vLLM's own come from its engine core, with every step: tokens,
  requests, and the use of the KV cache, which grows while a long prompt is read in pieces. One that
  is saturated or reads a long prompt therefore moves;
- somebody waits for an answer: a connection stays open, or a request of one token, which is sent
  once nothing has moved for a third of that time, is not answered. Requests that wait for something
  else than the engine (a grammar that is compiled) do not keep that one from being answered;
- no compiler runs in its container: a kernel that is needed for the first time takes minutes.

Time that passes without a look does not count: the container was paused, or the machine slept. What
an engine once got over by itself is allowed three times as long from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

PROBE_AFTER = 1 / 3
"""Of the time that it may stand still, until one token is asked for."""
PATIENCE = 3
"""Times that it may stand still as long as it did once."""
LONGEST_SECONDS = 900
"""However long it did: vLLM itself gives up a step of several processes after 300 s
(VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS)."""
SILENT_SECONDS = 300
"""Without any answer of its HTTP server, whoever waits; four times ``hang_seconds`` if longer."""


@dataclass(frozen=True)
class Look:
    """What a look at the engine has shown."""

    at: float
    """When, by a clock that never goes back."""
    figures: tuple[str, ...] | None
    """All that the engine core moves; ``None`` if none were given."""
    is_asked: bool = False
    """Whether a client waits, or the request of one token."""
    answered_after: float | None = None
    """Seconds that the request of one token took, if it was answered since the last look."""
    compiles: bool = False
    """Whether a compiler runs."""
    is_silent: bool = False
    """Whether its HTTP server did not answer at all."""


class Verdict(StrEnum):
    """What is to be thought of it."""

    WORKS = "works"
    STILL = "stands still"
    """Long enough to ask for one token."""
    HANGS = "hangs"
    SILENT = "answers nothing"


class Progress:
    """What all looks together say.

    Args:
        hang_seconds: how long it may stand still while somebody waits.
        interval: seconds from one look to the next.
    """

    def __init__(self, hang_seconds: float, interval: float) -> None:
        self.hang_seconds, self.interval = hang_seconds, interval
        self.still_seconds = 0.0
        """How long nothing has moved while somebody waited."""
        self.silent_seconds = 0.0
        self.longest = 0.0
        """How long it stood still and then went on by itself."""
        self._last: Look | None = None
        self._figures: tuple[str, ...] | None = None

    @property
    def allowed_seconds(self) -> float:
        """How long it may stand still by now."""
        learnt = min(PATIENCE * self.longest, LONGEST_SECONDS)
        return max(self.hang_seconds, learnt)

    def see(self, look: Look) -> Verdict:
        """One look more, and what it means."""
        passed = self._seconds_to(look)
        self._last = look
        self.silent_seconds = self.silent_seconds + passed if look.is_silent else 0.0
        if self.silent_seconds >= max(SILENT_SECONDS, 4 * self.hang_seconds):
            return Verdict.SILENT
        if look.figures is None:
            return Verdict.WORKS
        moved = look.figures != self._figures
        self._figures = look.figures
        if moved or look.answered_after is not None or look.compiles:
            self._learn(look.answered_after)
            self.still_seconds = 0.0
        elif look.is_asked:
            self.still_seconds += passed
        else:
            self.still_seconds = 0.0
        return self._verdict()

    def _learn(self, answered_after: float | None) -> None:
        """One that answers at once had nothing to do: a client only kept its connection."""
        if answered_after is None or answered_after > self.interval:
            self.longest = max(self.longest, self.still_seconds)

    def _seconds_to(self, look: Look) -> float:
        """Since the last look, but no more than two looks are apart."""
        if self._last is None:
            return 0.0
        return min(look.at - self._last.at, 2 * self.interval)

    def _verdict(self) -> Verdict:
        if self.still_seconds >= self.allowed_seconds:
            return Verdict.HANGS
        is_still = self.still_seconds >= PROBE_AFTER * self.hang_seconds
        return Verdict.STILL if is_still else Verdict.WORKS
