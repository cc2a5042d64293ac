"""What Atelier adds to LiteLLM 1.106; LiteLLM loads this file because config.yaml names it.

- A replica is left out when its engine failed; one is always left.
- A replica that is being replaced gets no new requests.
- The same conversation goes to the same replica while it has room.
- Requests have the priority that the operator declared, where the engine knows priorities.
- What a model cannot do is an error of the client (400), not of the server.
- A time-out names the setting that allows for more.
- A router whose memory has grown starts again.
- What somebody asks in the web UI is asked with their own key.
- Nothing of what people ask gets into the log, or into the rows of requests.

LiteLLM's own cooldowns are off: they take a request that an engine refuses for a failed engine.
Hooks: https://docs.litellm.ai/docs/proxy/call_hooks
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import atelier_connections
import atelier_silence
from atelier_answers import tell, with_headers
from atelier_conversations import conversation, conversation_of, prefer
from atelier_draining import Draining
from atelier_engine_keys import EngineKeys
from atelier_failures import engine_failed, explained, reason, told_to_client
from atelier_people import KeyHashes, StandIns, WebUI, as_people
from atelier_priorities import Priorities
from atelier_recycling import Recycling, watch
from atelier_replicas import LeftOut
from atelier_requests import of_the_client
from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy.proxy_server import app

LIVE = Path("/etc/atelier")
"""What Atelier changes while LiteLLM runs."""

log = logging.getLogger("LiteLLM Proxy")


def failure_status(said: object) -> int:
    """What a failed request is answered with, whatever its error calls a status."""
    status = int(str(said)) if str(said).isdecimal() else 500
    return status if 400 <= status < 600 else 500


class Hooks(CustomLogger):  # type: ignore[misc]
    """What LiteLLM calls."""

    def __init__(
        self, priorities: Priorities, draining: Draining, left_out: LeftOut | None = None
    ) -> None:
        super().__init__()
        self.priorities = priorities
        self.draining = draining
        self.left_out = left_out or LeftOut()

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> dict[str, Any]:
        """Only the operator says how an engine is asked, and who goes first."""
        kind = str(getattr(call_type, "value", call_type))
        conversation.set(conversation_of(data, kind, getattr(user_api_key_dict, "api_key", None)))
        return self.priorities.put_on(of_the_client(data), kind)

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[dict[str, Any]],
        messages: Any,
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: Any = None,
    ) -> list[dict[str, Any]]:
        """The replicas that a request may go to, without those that it failed on."""
        failed = (request_kwargs or {}).get("_excluded_deployment_ids") or ()
        ids = [row["model_info"]["id"] for row in healthy_deployments]
        usable = await self.draining.without([each for each in ids if each not in failed])
        chosen = self.left_out.choose(usable)
        rows = [row for row in healthy_deployments if row["model_info"]["id"] in chosen]
        return prefer(rows, conversation.get(), atelier_connections.open_requests)

    async def async_post_call_failure_deployment_hook(
        self,
        request_data: Mapping[str, Any],
        exception: Exception,
        call_type: Any,
        fallback_depth: int | None = None,
    ) -> None:
        """An attempt failed: its replica is left out if the engine failed."""
        replica = (request_data.get("model_info") or {}).get("id")
        if replica and engine_failed(exception) and self.left_out.add(replica):
            log.warning("%s left out: %s", replica, reason(exception))

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """A replica answered."""
        replica = (kwargs.get("litellm_params", {}).get("model_info") or {}).get("id")
        if self.left_out.remove(replica):
            log.warning("%s answers again", replica)

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Any,
        user_api_key_dict: Any,
        traceback_str: str | None = None,
    ) -> HTTPException | None:
        """A request failed: what its client is told."""
        tell(original_exception)
        told = told_to_client(original_exception, request_data)
        if told is None:
            status = getattr(original_exception, "status_code", None)
            if status is None or not atelier_silence.may_quote(original_exception):
                return None
            said = str(getattr(original_exception, "message", original_exception))
            text = atelier_silence.without_quotes(said, request_data)
            if text == said:
                return None
            told = failure_status(status), text
        elif told[0] == 400:
            # an engine's own text is in it
            told = told[0], atelier_silence.without_quotes(told[1], request_data)
        # /v1/messages does not look at what is returned here, but only at the error
        original_exception.status_code, original_exception.message = told
        return HTTPException(*told)


settings = json.loads(Path(__file__).with_name("atelier.json").read_text())
hooks = Hooks(Priorities(**settings["priorities"]), Draining(LIVE / "draining"))
atelier_connections.install(EngineKeys(LIVE / "engine_keys"))
app.middleware_stack = with_headers(app.middleware_stack)
# before the one that leaves out where client's errors came from
atelier_silence.install()
log.addFilter(explained)
if settings["web_ui"]:
    believed = WebUI(key=os.environ["LITELLM_MASTER_KEY"], **settings["web_ui"])
    stand_ins = StandIns()
    stand_ins.install()
    app.middleware_stack = as_people(app.middleware_stack, believed, KeyHashes(), stand_ins)
if settings["recycling"]:
    own = int(os.environ["ATELIER_REPLICA"])
    # kept, or it could be collected while it waits
    watching = asyncio.get_running_loop().create_task(
        watch(Recycling(own=own, **settings["recycling"]))
    )
