"""The same conversation goes to the same replica while it has room, for its engine's prefix cache.

Nothing is kept, and routers need not tell each other: each ranks the replicas by a hash of how the
conversation begins, so that all agree, and only what a replica that is left out had moves.
LiteLLM's own affinities keep a key with one replica however busy it is, or want a session's name
from the client: https://docs.litellm.ai/docs/response_api#session-continuity---routing-to-the-same-deployment
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from hashlib import sha256
from typing import Any

COMPLETION_CHARACTERS = 256
"""How a file begins stays the same while somebody types in it, further down."""
BUSIER = 1.5
"""A replica may have this many times as many requests as the average of all: it answers a known
prompt so much sooner. https://arxiv.org/abs/1608.01350 (consistent hashing with bounded loads)"""

conversation: ContextVar[str | None] = ContextVar("conversation", default=None)
"""Which one the request that is being answered belongs to."""


def conversation_of(request: Mapping[str, Any], kind: str, key: str | None) -> str | None:
    """Which conversation a request belongs to; ``None`` for one of its own, such as embeddings.

    Args:
        request: what a client asked for.
        kind: what LiteLLM calls it, e.g. ``acompletion``.
        key: digest of the client's key.
    """
    begins = _beginning(request, kind)
    if begins is None:
        return None
    return sha256(json.dumps([key, begins], default=str).encode()).hexdigest()


def _beginning(request: Mapping[str, Any], kind: str) -> Any:
    """What a person said first; what comes before it is the same for many, or differs each time."""
    if prompt := request.get("prompt"):
        return str(prompt)[:COMPLETION_CHARACTERS]
    messages = request.get("messages")
    if messages is None and "response" in kind:
        messages = request.get("input")
    if isinstance(messages, str):
        return messages
    if not isinstance(messages, list):
        return None
    said = [each for each in messages if isinstance(each, Mapping)]
    return next((each.get("content") for each in said if each.get("role") == "user"), None)


def prefer(
    rows: list[dict[str, Any]], wanted: str | None, open_requests: Callable[[str], int]
) -> list[dict[str, Any]]:
    """The replica that a conversation goes to, or all where it is none.

    Args:
        rows: replicas, as LiteLLM's configuration has them.
        wanted: the conversation.
        open_requests: how many requests an engine is answering, by its address.
    """
    if wanted is None or len(rows) < 2:
        return rows

    def busy(row: dict[str, Any]) -> int:
        return open_requests(row["litellm_params"]["api_base"])

    ranked = sorted(rows, key=lambda row: _rank(wanted, row["model_info"]["id"]))
    fair = math.ceil(BUSIER * (sum(map(busy, rows)) + 1) / len(rows))
    with_room = (row for row in ranked if busy(row) < min(fair, row["model_info"]["room"]))
    return [next(with_room, None) or min(ranked, key=busy)]


def _rank(wanted: str, replica: str) -> bytes:
    return sha256(f"{wanted} {replica}".encode()).digest()
