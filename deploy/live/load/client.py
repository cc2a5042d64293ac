"""One request of somebody, and the clock next to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from deploy.live.load import sample as outcomes
from deploy.live.load.sample import Sample
from deploy.live.load.workload import Step, Use

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from deploy.live.load.target import Target

CONNECT_SECONDS = 10
SILENT_SECONDS = 120
"""A stream that says nothing for so long is given up."""
DATA, DONE = "data: ", "[DONE]"


@dataclass(frozen=True)
class Client:
    """Asks, and measures.

    Attributes:
        http: keeps connections.
        begun: when the load began, by ``time.monotonic``.
    """

    http: httpx.AsyncClient
    begun: float

    def now(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self.begun

    async def ask(self, use: Use, step: Step, found: list[Sample]) -> Sample:
        """Send a request and read its stream, until its end or until it is given up.

        Args:
            use: whose it is.
            step: the request.
            found: where its sample is put at once: it stays there if the load ends meanwhile.
        """
        sample = Sample(use, begun=self.now())
        found.append(sample)
        try:
            async with asyncio.timeout(step.cancel_after_seconds) as limit:
                await self._read(step, sample)
        except TimeoutError:
            # it has ended as an editor ends it: the connection is closed
            given_up = limit.expired()
            sample.outcome = outcomes.CANCELLED if given_up else outcomes.TIMED_OUT
        except httpx.TimeoutException:
            sample.outcome = outcomes.TIMED_OUT
        except (httpx.ConnectError, httpx.ProxyError):
            sample.outcome = outcomes.NO_CONNECTION
        except (httpx.HTTPError, httpx.StreamError):
            sample.outcome = outcomes.CUT
        finally:
            sample.ended = self.now()
        return sample

    async def _read(self, step: Step, sample: Sample) -> None:
        async with self.http.stream("POST", step.path, json=step.body) as reply:
            if reply.status_code != httpx.codes.OK:
                sample.outcome = _refusal(reply.status_code)
                return
            async for line in _lines(reply):
                if line.startswith(DATA) and not self._is_end(line.removeprefix(DATA), sample):
                    return
        if sample.outcome == outcomes.UNFINISHED:
            sample.outcome = outcomes.CUT

    def _is_end(self, data: str, sample: Sample) -> bool:
        """Take in an event; whether more may come."""
        if data == DONE:
            sample.outcome = outcomes.ANSWERED if sample.parts else outcomes.EMPTY
            return False
        try:
            event: Mapping[str, Any] = dict(json.loads(data))
        except (TypeError, ValueError):
            sample.outcome = outcomes.NO_JSON
            return False
        if "error" in event:
            sample.outcome = _error_of(event["error"])
            return False
        if usage := event.get("usage"):
            sample.tokens = usage.get("completion_tokens")
            sample.prompt_tokens = usage.get("prompt_tokens")
        if text := _text(event):
            sample.came(self.now(), text)
        return True


@asynccontextmanager
async def open_client(target: Target, people: int) -> AsyncIterator[Client]:
    """Connections for so many people, each with its own, as theirs would be."""
    limits = httpx.Limits(max_connections=people + 4, max_keepalive_connections=people + 4)
    timeout = httpx.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS, pool=None)
    async with httpx.AsyncClient(
        base_url=target.url,
        headers=target.headers,
        verify=target.verify,
        limits=limits,
        timeout=timeout,
        trust_env=False,
    ) as http:
        if target.server_name:
            http.event_hooks["request"].append(_named(target.server_name))
        yield Client(http, time.monotonic())


async def _lines(reply: httpx.Response) -> AsyncIterator[str]:
    """As they come; those of httpx end at more than line breaks, also in the middle of a text."""
    pending = ""
    async for text in reply.aiter_text():
        *whole, pending = (pending + text).split("\n")
        for line in whole:
            yield line.rstrip("\r")
    if pending:
        yield pending


def _named(name: str) -> Any:
    """The name that the certificate must be for, wherever the way to it begins."""

    async def name_server(request: httpx.Request) -> None:
        request.extensions["sni_hostname"] = name

    return name_server


def _text(event: Mapping[str, Any]) -> str:
    choices = event.get("choices") or [{}]
    delta = choices[0].get("delta") or {}
    thought = delta.get("reasoning_content") or delta.get("reasoning")
    return str(choices[0].get("text") or delta.get("content") or thought or "")


def _refusal(status: int) -> str:
    return outcomes.TOO_MANY if status == httpx.codes.TOO_MANY_REQUESTS else f"HTTP {status}"


def _error_of(error: Any) -> str:
    """What kind it is; its text may hold what was asked."""
    code = error.get("code") if isinstance(error, dict) else None
    return f"an error in the stream ({code})" if code else "an error in the stream"
