"""An engine that computes nothing: it streams tokens at a given speed, each with the time it left.

    python3 mock_engine.py PORT... --tokens-per-second 50

It answers ``/v1/completions`` and ``/v1/chat/completions`` with ``max_tokens`` tokens, and
everything else with an empty object. A token is the time by the machine's monotonic clock in
microseconds: whoever reads it on the same machine knows how long it was under way. Only the
standard library is used: it runs in a container of another image.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from typing import Any

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"


class Engine:
    """Answers connections."""

    def __init__(self, tokens_per_second: float, first_token_seconds: float = 0.0) -> None:
        self._gap = 1 / tokens_per_second
        self._first = first_token_seconds
        self.cut = 0
        """Streams whose client went away."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests, one after the other."""
        try:
            while request := await _read(reader):
                await self._answer(writer, *request)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, path: str, body: dict[str, Any]) -> None:
        if not path.endswith("/completions"):
            _write_json(writer, {"data": [], "status": "ok"})
        elif not body.get("stream"):
            tokens = int(body.get("max_tokens", 16))
            _write_json(writer, _event(path, body, "token " * tokens) | {"usage": _usage(tokens)})
        else:
            await self._stream(writer, path, body)
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter, path: str, body: dict[str, Any]) -> None:
        tokens = int(body.get("max_tokens", 16))
        writer.write(STREAM)
        # streams do not all beat at the same moment
        due = time.monotonic() + self._first + random.uniform(0, self._gap)  # noqa: S311
        for _ in range(tokens):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if writer.is_closing():
                self.cut += 1
                raise ConnectionResetError
            text = f"{time.monotonic_ns() // 1000} "
            _write_chunk(writer, _data(_event(path, body, text)))
            due += self._gap
        last = _event(path, body, "") | {"choices": [], "usage": _usage(tokens)}
        _write_chunk(writer, _data(last) + DONE)
        writer.write(b"0\r\n\r\n")


async def _read(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]] | None:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    length = next((int(x[15:]) for x in lines if x.lower().startswith("content-length:")), 0)
    body = await reader.readexactly(length) if length else b"{}"
    return lines[0].split(" ")[1], json.loads(body)


def _event(path: str, body: dict[str, Any], text: str) -> dict[str, Any]:
    is_chat = "chat" in path
    said: dict[str, Any] = {"text": text}
    if is_chat:
        content = {"role": "assistant", "content": text}
        said = {"delta" if body.get("stream") else "message": content}
    return {
        "id": "mock",
        "object": "chat.completion.chunk" if is_chat else "text_completion",
        "created": 0,
        "model": body.get("model", ""),
        "choices": [{"index": 0, "finish_reason": None, **said}],
    }


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 100, "completion_tokens": tokens, "total_tokens": tokens + 100}


def _data(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def _write_chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


def _write_json(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    data = json.dumps(answer).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % len(data) + data)


async def main() -> None:
    """Serve on every port until the process ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ports", type=int, nargs="+")
    parser.add_argument("--tokens-per-second", type=float, default=50.0)
    given = parser.parse_args()
    engine = Engine(given.tokens_per_second)
    everywhere = "0.0.0.0"  # noqa: S104 - in its container
    servers = [await asyncio.start_server(engine.serve, everywhere, port) for port in given.ports]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main())
