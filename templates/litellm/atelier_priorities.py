"""Who goes first at an engine that knows priorities: what the operator declared, and no client.

vLLM with ``--scheduling-policy priority`` answers requests with lower numbers first:
https://docs.vllm.ai/en/latest/cli/serve/#-scheduling-policy
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORGED = frozenset({"priority", "extra_headers"})
"""What a client could name a priority with; newer vLLM takes it from a header, too."""
COMPLETES = "atext_completion"


@dataclass(frozen=True)
class Priorities:
    """Priorities by the name that a client asks for."""

    completions: Mapping[str, int]
    others: Mapping[str, int]

    def put_on(self, request: Mapping[str, Any], kind: str) -> dict[str, Any]:
        """A request with its priority, where its engine knows any.

        Args:
            request: what a client asked for.
            kind: what LiteLLM calls it, e.g. ``acompletion``.
        """
        kept = {name: value for name, value in request.items() if name not in FORGED}
        given = kept.pop("extra_body", None)
        extra = {**given} if isinstance(given, Mapping) else {}
        extra.pop("priority", None)
        priorities = self.completions if kind == COMPLETES else self.others
        if priority := priorities.get(str(request.get("model"))):
            extra["priority"] = priority
        return kept | ({"extra_body": extra} if extra else {})
