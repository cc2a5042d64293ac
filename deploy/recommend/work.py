"""What people do with a model, and what that asks of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """One kind of work."""

    role: str
    """What the model must be made for: ``chat`` or ``completion``."""
    context_tokens: int
    """Tokens of a request where nothing is said."""
    pace: float
    """Tokens a second that each user needs at least."""
    good_pace: float
    """Faster than this is worth no more."""
    prompt_tokens: int
    """New tokens of a prompt, those that no cache holds, of a usual step of the work."""
    output_tokens: int
    """Tokens written in it."""
    full_points: float
    """Strength of the best models for it."""
    seat_eur_per_month: float
    """What such a model is worth a user: about a seat of a service."""

    @property
    def prompt_per_output(self) -> float:
        """New tokens of prompts for each token written."""
        return self.prompt_tokens / self.output_tokens


WORKS = {
    "agents": Work("chat", 65536, 20.0, 80.0, 3000, 500, 80.0, 100.0),
    "chat": Work("chat", 8192, 10.0, 30.0, 1000, 500, 80.0, 50.0),
    "completion": Work("completion", 1024, 10.0, 60.0, 0, 32, 20.0, 10.0),
}
"""Agents keep 30000 to 100000 tokens and read files all the time; people wait for each step, so
that they need twice the speed people read at and are served best at 80 tokens/s, as services do.
Completion takes less than 1000 tokens (the slides);
its prompts count where its time is worked out."""
DEFAULT_WORK = "agents"
