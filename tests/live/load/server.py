"""The mock engine of the benchmarks, in a thread of its own, with faults on demand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.mock_engine import Engine
from deploy.live.load.target import Target

ANSWERS = {
    "refused": b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\n{}",
    "broken": b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ndata: {}\n\n",
    "error": b"HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n"
    + b'data: {"error": {"code": "oom"}}\n',
    "text": b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\ndata: out of memory",
    "list": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ndata: [7]",
}


SAID = 'data: {"choices": [{"delta": {"content": "a\u2028b\x85c"}}]}\r\n\r\ndata: [DONE]'.encode()
ANSWERS["own lines"] = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(SAID), SAID)
"""JSON need not escape the first two, which Python takes for ends of lines."""


class Faulty(Engine):
    """Answers in its own way for models of these names, mostly with failures."""

    async def _answer(self, writer: asyncio.StreamWriter, path: str, body: dict[str, Any]) -> None:
        if answer := ANSWERS.get(body.get("model", "")):
            writer.write(answer)
            await writer.drain()
            raise ConnectionResetError
        await super()._answer(writer, path, body)


@contextmanager
def serving(
    tokens_per_second: float, first_token_seconds: float = 0.0, port: int = 0
) -> Iterator[Target]:
    """A target that answers."""
    loop, engine = asyncio.new_event_loop(), Faulty(tokens_per_second, first_token_seconds)
    server = loop.run_until_complete(asyncio.start_server(engine.serve, "127.0.0.1", port))
    port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{port}"
        yield Target(url, "sk-a-key", url, through_ssh=False, limits=None)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
