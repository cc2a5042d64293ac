"""What made-up people ask, and when: pure, and the same for the same seed.

What one use asks of a model is what `atelier recommend` counts with. How people pause is an
assumption, on the side of more load: an editor asks when no one has typed for a moment (Continue:
0.35 s, core/util/parameters.ts), and gives up what is under way as soon as somebody types on.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from deploy.catalog.models import FillInTheMiddle
from deploy.recommend.work import WORKS

TYPES_ON_SHARE = 0.4
"""Completions that no one waits for: who asked types on."""
TYPES_ON_SECONDS = (0.1, 0.6)
"""When that is: people press several keys a second (Dhakal et al., CHI 2018)."""
SPARE = 0.8
"""Part of a model's context that is used: tokens are counted by an estimate."""
CHARACTERS_PER_TOKEN = 3.5
"""Of code, until it is measured."""
CHECKS = ("is empty", "has one item", "is sorted", "has no duplicates", "ends early", "is large")
VERBS = ("load", "merge", "count", "parse", "split", "check", "write", "group", "filter", "scale")
NOUNS = ("rows", "users", "items", "nodes", "words", "pairs", "tasks", "files", "edges", "scores")
Message = dict[str, str]


class Use(StrEnum):
    """What somebody does."""

    COMPLETIONS = "completions"
    CHATS = "chats"


class Choice(StrEnum):
    """Which uses a load has."""

    COMPLETIONS = "completions"
    CHATS = "chats"
    BOTH = "both"


@dataclass(frozen=True)
class Shape:
    """How large the requests of one use are, and how long people pause."""

    use: Use
    context_tokens: int
    """Longest prompt and answer together."""
    prompt_tokens: int
    """New tokens of each prompt."""
    output_tokens: int
    """Longest answer."""
    pause_seconds: float
    """Between an answer and the next request, on average."""
    pace: float
    """Tokens a second that each needs at least."""

    def within(self, max_model_len: int) -> Shape:
        """The same for a model that takes less."""
        context = min(self.context_tokens, int(max_model_len * SPARE))
        output = min(self.output_tokens, max(context // 4, 1))
        # a conversation has room for a second question
        room = (context - output) // (2 if self.use is Use.CHATS else 1)
        prompt = min(self.prompt_tokens, max(room, 1))
        return replace(self, context_tokens=context, prompt_tokens=prompt, output_tokens=output)


COMPLETION, CHAT = WORKS["completion"], WORKS["chat"]
SHAPES = {
    # all of a completion's context is new where no cache holds the file
    Use.COMPLETIONS: Shape(
        use=Use.COMPLETIONS,
        context_tokens=COMPLETION.context_tokens,
        prompt_tokens=COMPLETION.context_tokens - COMPLETION.output_tokens,
        output_tokens=COMPLETION.output_tokens,
        pause_seconds=4.0,
        pace=COMPLETION.pace,
    ),
    Use.CHATS: Shape(
        use=Use.CHATS,
        context_tokens=CHAT.context_tokens,
        prompt_tokens=CHAT.prompt_tokens,
        output_tokens=CHAT.output_tokens,
        pause_seconds=20.0,
        pace=CHAT.pace,
    ),
}


@dataclass(frozen=True)
class Step:
    """One request of somebody."""

    pause_seconds: float
    """Before it is sent."""
    path: str
    body: Mapping[str, Any] = field(repr=False)
    cancel_after_seconds: float | None = None
    """When it is given up; ``None`` where the answer is waited for."""


class Person:
    """Somebody who asks again and again.

    Args:
        number: which one; each has files and conversations of their own.
        seed: what all chance depends on.
        model: what is asked for.
        shape: of the requests.
        markers: the tokens that ask the model for what is between two texts, if it has any.
        characters_per_token: of code, as measured.
    """

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        number: int,
        seed: int,
        model: str,
        shape: Shape,
        markers: FillInTheMiddle | None = None,
        characters_per_token: float = CHARACTERS_PER_TOKEN,
    ) -> None:
        self.use = shape.use
        self._random = random.Random(f"{seed} {shape.use} {number}")  # noqa: S311 - not a secret
        self._model, self._shape, self._markers = model, shape, markers
        self._per_token = characters_per_token
        # what this one works on
        self.file = self._code(shape.context_tokens)
        self._said: list[Message] = []
        self._begun = False

    def next(self, answer: str) -> Step:
        """What is asked next.

        Args:
            answer: what was answered to the request before; empty for the first.
        """
        step = self._completion() if self.use is Use.COMPLETIONS else self._chat(answer)
        # people do not all begin at the same moment
        mean = self._shape.pause_seconds
        pause = self._random.expovariate(1 / mean) if self._begun else self._random.uniform(0, mean)
        self._begun = True
        return replace(step, pause_seconds=min(pause, 5 * mean))

    def _completion(self) -> Step:
        """Somebody types in a file that stays the same but for that place."""
        room = int(self._shape.prompt_tokens * self._per_token)
        before, after = self.file[: room * 3 // 4], self.file[room * 3 // 4 : room]
        typed = self._function()[: self._random.randint(10, 60)]
        before = before[: max(len(before) - len(typed), 0)] + typed[: len(before)]
        gives_up = self._random.random() < TYPES_ON_SHARE
        body = {"prompt": _fill_in(before, after, self._markers), "temperature": 0.2}
        return Step(
            0.0,
            "/v1/completions",
            self._body(body),
            self._random.uniform(*TYPES_ON_SECONDS) if gives_up else None,
        )

    def _chat(self, answer: str) -> Step:
        if answer:
            self._said.append({"role": "assistant", "content": answer})
        said = sum(len(each["content"]) for each in self._said)
        shape = self._shape
        room = (shape.context_tokens - shape.output_tokens - shape.prompt_tokens) * self._per_token
        if said > room or (self._said and not answer):
            # the conversation is full, or broke off
            self._said = []
        question = f"What is wrong here when it {self._random.choice(CHECKS)}?\n\n"
        self._said.append({"role": "user", "content": question + self._code(shape.prompt_tokens)})
        return Step(0.0, "/v1/chat/completions", self._body({"messages": [*self._said]}))

    def _body(self, own: dict[str, Any]) -> dict[str, Any]:
        return {
            "model": self._model,
            "max_tokens": self._shape.output_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        } | own

    def _code(self, tokens: int) -> str:
        """So many tokens of something like Python, which no one else has."""
        wanted, parts, length = int(tokens * self._per_token), [], 0
        while length < wanted:
            parts.append(self._function())
            length += len(parts[-1])
        return "".join(parts)[:wanted]

    def _function(self) -> str:
        verb, noun, other = (self._random.choice(words) for words in (VERBS, NOUNS, NOUNS))
        number = self._random.randint(2, 9999)
        return (
            f"def {verb}_{noun}_{number}({other}):\n    total = {number % 97}\n"
            f"    for each in {other}:\n        total += each.{noun} * {number}\n"
            "    return total\n\n"
        )


def sample_code(seed: int, characters: int) -> str:
    """Code to measure by how many characters a token has."""
    shape = replace(SHAPES[Use.COMPLETIONS], context_tokens=characters)
    return Person(-1, seed, "", shape, None, 1.0).file


def requests_per_minute(shape: Shape, seconds: float) -> float:
    """How many requests one person sends.

    Args:
        shape: of the requests.
        seconds: until an answer is there.
    """
    return 60 / (shape.pause_seconds + seconds)


def _fill_in(before: str, after: str, markers: FillInTheMiddle | None) -> str:
    """A prompt that asks for what is between two texts; only the first for other models."""
    if markers is None:
        return before
    first, then = markers.prefix + before, markers.suffix + after
    if markers.suffix_first:
        first, then = then, first
    return first + then + markers.middle
