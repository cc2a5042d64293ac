"""What the operator says of a request, and no client: how engines are asked, and how often.

With another key or less time, an engine would be left out for all others; each further attempt is
work for every replica. LiteLLM takes these from the body of a request, from settings of the router
in it, and from each model that it names to go on with:
https://docs.litellm.ai/docs/proxy/reliability#client-side-fallbacks
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OPERATORS = frozenset(
    {
        *("timeout", "stream_timeout", "request_timeout"),
        *("num_retries", "max_retries", "model_group_retry_policy", "router_settings_override"),
        *("api_key", "api_version", "azure", "custom_llm_provider", "deployment_id", "headers"),
        *("organization", "provider_specific_header", "use_litellm_proxy"),
    }
)
FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
OF_A_FALLBACK = ("model", "messages")
"""What a client may say of a model to go on with."""


def of_the_client(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request without what only the operator says."""
    kept = {name: value for name, value in request.items() if name not in OPERATORS}
    return kept | {name: _targets(kept[name]) for name in FALLBACKS if name in kept}


def _targets(value: Any) -> Any:
    """Models to go on with: names, or what is asked of them, also by the model that failed."""
    if isinstance(value, list):
        return [_targets(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    if "model" in value:
        return {name: value[name] for name in OF_A_FALLBACK if name in value}
    return {name: _targets(each) for name, each in value.items() if isinstance(each, list)}
