"""Speaks as much of vLLM's API as a router and a health check need, and computes nothing.

    python3 -m fake_vllm.server MODEL [--gpu-memory-utilization SHARE] ...

Other arguments of ``vllm serve`` are accepted and ignored. Environment:
    VLLM_API_KEY             the key that requests under /v1 need
    NVIDIA_VISIBLE_DEVICES   the GPUs, as Docker sets it
    FAKE_GPUS                where the cards' directories are
    FAKE_VLLM_START_SECONDS  how long it loads its model
    FAKE_VLLM_ANY_WEIGHTS    whether it starts without weights
    VLLM_CPU_KVCACHE_SPACE   it is one for CPUs, and needs no card
    HF_HUB_OFFLINE           as with vLLM: the model is what Hugging Face's client has in its cache
Only the standard library and that client are used: this file is copied into an image.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from .gpu_memory import NoMemoryError, hold, starting
from .nodes import MeetingError, Place, meet

ANSWER = ("    if", " n", " <", " 2:", "\n        return", " n\n", "    return", " fib(n - 1)")
Reply = dict[str, Any]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    model: ClassVar[str]
    key: ClassVar[str]

    def do_GET(self) -> None:
        if self.path in {"/health", "/ping"}:
            self._send(200)
        elif not self._has_key():
            return
        elif self.path == "/v1/models":
            row = {"id": self.model, "object": "model", "owned_by": "vllm"}
            self._send(200, {"object": "list", "data": [row]})
        else:
            self._fail(404, "Not Found")

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        if not self._has_key():
            return
        if self.path not in {"/v1/completions", "/v1/chat/completions"}:
            self._fail(404, "Not Found")
        elif request.get("model", self.model) != self.model:
            self._fail(404, f"The model `{request['model']}` does not exist.")
        elif request.get("stream"):
            self._stream(request)
        else:
            self._send(200, self._whole(request))

    def _has_key(self) -> bool:
        ok = not self.key or self.headers.get("Authorization") == f"Bearer {self.key}"
        if not ok and self.path.startswith("/v1"):
            self._send(401, {"error": "Unauthorized"})
            return False
        return True

    def _whole(self, request: Reply) -> Reply:
        words = _words(request)
        text = "".join(words)
        message = {"role": "assistant", "content": text}
        content: Reply = {"message": message} if self._chats() else {"text": text}
        choice = {"index": 0, "finish_reason": _reason(words)}
        return self._frame("", [choice | content]) | {"usage": _usage(words)}

    def _chunks(self, request: Reply) -> Iterator[Reply]:
        words = _words(request)
        for number, word in enumerate(words, 1):
            delta = {"role": "assistant", "content": word}
            content: Reply = {"delta": delta} if self._chats() else {"text": word}
            choice = {"index": 0, "finish_reason": _reason(words, is_last=number == len(words))}
            yield self._frame(".chunk", [choice | content])
        if (request.get("stream_options") or {}).get("include_usage"):
            yield self._frame(".chunk", []) | {"usage": _usage(words)}

    def _frame(self, kind: str, choices: list[Reply]) -> Reply:
        name = f"chat.completion{kind}" if self._chats() else "text_completion"
        numbers = {"id": f"cmpl-{time.time_ns()}", "created": int(time.time())}
        return {**numbers, "object": name, "model": self.model, "choices": choices}

    def _chats(self) -> bool:
        return self.path == "/v1/chat/completions"

    def _stream(self, request: Reply) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for chunk in self._chunks(request):
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")

    def _fail(self, status: int, message: str) -> None:
        self._send(status, {"error": {"message": message, "type": "NotFoundError", "code": status}})

    def _send(self, status: int, reply: Reply | None = None) -> None:
        body = b"" if reply is None else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Requests are not logged."""


def _words(request: Reply) -> list[str]:
    limit = request.get("max_tokens") or request.get("max_completion_tokens") or len(ANSWER)
    return list(ANSWER[:limit])


def _reason(words: list[str], *, is_last: bool = True) -> str | None:
    if not is_last:
        return None
    return "stop" if len(words) == len(ANSWER) else "length"


def _usage(words: list[str]) -> dict[str, int]:
    return {"prompt_tokens": 4, "completion_tokens": len(words), "total_tokens": 4 + len(words)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vllm serve", allow_abbrev=False)
    parser.add_argument("model")
    parser.add_argument("--served-model-name")
    parser.add_argument("--revision")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--gpu-memory-utilization", type=float, default=0.9)
    parser.add_argument("--tensor-parallel-size", type=int, default=1)
    parser.add_argument("--pipeline-parallel-size", type=int, default=1)
    parser.add_argument("--max-model-len")
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--nnodes", type=int, default=1)
    parser.add_argument("--node-rank", type=int, default=0)
    parser.add_argument("--master-addr", default="127.0.0.1")
    parser.add_argument("--master-port", type=int, default=29501)
    return parser.parse_known_args()[0]


def _cards(wanted: int) -> list[Path]:
    if "VLLM_CPU_KVCACHE_SPACE" in os.environ:
        return []
    visible = [part for part in os.environ.get("NVIDIA_VISIBLE_DEVICES", "").split(",") if part]
    if wanted > len(visible):
        raise NoMemoryError(
            f"ValueError: World size ({wanted}) is larger than the number of available GPUs "
            f"({len(visible)}) in this node."
        )
    return [Path(os.environ.get("FAKE_GPUS", "/fake-gpus")) / name for name in visible[:wanted]]


def _model_path(model: str, revision: str | None) -> str:
    """What vLLM replaces a repository's name by when it is offline; asked of the real client."""
    online = os.environ.get("HF_HUB_OFFLINE") != "1" or Path(model).is_dir()
    if online or os.environ.get("FAKE_VLLM_ANY_WEIGHTS"):
        return model
    from huggingface_hub import snapshot_download

    return str(snapshot_download(model, revision=revision, local_files_only=True))


def _meet_others(given: argparse.Namespace) -> list[socket.socket]:
    """Connections to the other hosts of the replica, if it has any."""
    if given.nnodes == 1:
        return []
    _say(f"INFO rank {given.node_rank} waits for {given.nnodes} in all")
    place = Place(given.nnodes, given.node_rank, (given.master_addr, given.master_port))
    return meet(place, f"{given.served_model_name} {given.max_model_len}")


def _stop(*_: object) -> None:
    raise SystemExit(0)


def main() -> None:
    """Hold the GPUs' memory and serve until told to stop."""
    signal.signal(signal.SIGTERM, _stop)
    given = _arguments()
    cards = _cards(given.tensor_parallel_size * given.pipeline_parallel_size // given.nnodes)
    Handler.model = given.served_model_name or given.model
    Handler.key = os.environ.get("VLLM_API_KEY", "")
    with ExitStack() as memory:
        with starting(cards):
            memory.enter_context(hold(cards, given.gpu_memory_utilization))
            for other in _meet_others(given):
                memory.enter_context(other)
            _say(f"INFO Loading weights of {_model_path(given.model, given.revision)}")
            time.sleep(float(os.environ.get("FAKE_VLLM_START_SECONDS", "0.5")))
        while given.headless:
            time.sleep(1)
        server = ThreadingHTTPServer((given.host, given.port), Handler)
        _say("INFO Application startup complete.")
        server.serve_forever()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the log of its container


if __name__ == "__main__":
    try:
        main()
    except (NoMemoryError, MeetingError) as error:
        _say(f"ERROR Engine core initialization failed.\n{error}")
        sys.exit(1)
