"""Stands in for the sender: looks a token up, asks the model's consumer, hands the request on.

Statuses and messages: ``src/sender/main.py`` and ``src/sender/rpc_client.py``, v1.4.3
"""

from __future__ import annotations

import base64
import json
import os
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pika
from src.broker import connect
from src.sender.db import Database
from src.sender.entities import Metric, User
from src.sender.settings import Settings

SETTINGS = Settings()
DATABASE = Database(SETTINGS)
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
READY, ROUNDS_SECONDS = "ready", 1
state: dict[str, bool] = {READY: True}


def keep_connected() -> None:
    """One connection, made once: what loses it is never ready again, as upstream may be."""
    connection = connect()
    try:
        while True:
            connection.process_data_events(ROUNDS_SECONDS)
    except pika.exceptions.AMQPError:
        state[READY] = False


def ask_consumer(model: str, priority: int) -> dict[str, Any] | None:
    """What the consumer of a model says, or nothing in time."""
    connection = connect()
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    properties = pika.BasicProperties(
        correlation_id=str(uuid.uuid4()), reply_to=queue, priority=priority
    )
    channel.basic_publish("", model, b"AVAILABLE?", properties)
    try:
        for _, _, body in channel.consume(
            queue, auto_ack=True, inactivity_timeout=SETTINGS.message_seconds
        ):
            return dict(json.loads(body)) if body else None
        return None
    finally:
        connection.close()


def models() -> list[str]:
    """The queues that are models."""
    login = f"{os.environ['RABBITMQ_USER']}:{os.environ['RABBITMQ_PASSWORD']}".encode()
    headers = {"Authorization": f"Basic {base64.b64encode(login).decode()}"}
    url = f"{SETTINGS.management_url}/api/exchanges/%2F/amq.default/bindings/source"
    with OPENER.open(_request(url, None, headers), timeout=10) as answer:
        names = [row["destination"] for row in json.load(answer)]
    return [
        name
        for name in names
        if not name.startswith("amq") and not name.endswith(("completed", "private"))
    ]


def _request(url: str, body: bytes | None, headers: dict[str, str]) -> urllib.request.Request:
    return urllib.request.Request(url, body, headers)  # noqa: S310 - RabbitMQ's and engines'


def usage(body: bytes) -> dict[str, Any]:
    """The tokens that an answer counts, in its last event where it is a stream."""
    for event in reversed(body.decode().split("data:")):
        try:
            return dict(json.loads(event).get("usage") or {})
        except ValueError:
            continue
    return {}


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing: clients put keys into addresses."""

    def reply(self, status: int, body: bytes, kind: str = "application/json") -> None:
        """A whole answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def user(self) -> User | None:
        """Whose token it is."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            return None
        with DATABASE.get_session() as session:
            return session.query(User).filter_by(token=token).first()

    def do_GET(self) -> None:
        """Health without a token, then the list of models."""
        if self.path == "/health/liveness":
            self.reply(200, b"OK", "text/plain")
        elif self.path == "/health/readiness":
            ready = state[READY]
            self.reply(200 if ready else 503, b"OK" if ready else b"KO", "text/plain")
        elif self.user() is None:
            self.reply(401, b'{"error": "Unauthorized"}')
        elif self.path == "/v1/models":
            rows = [{"id": name, "object": "model", "owned_by": name} for name in models()]
            self.reply(200, json.dumps({"object": "list", "data": rows}).encode())
        else:
            self.reply(404, b'{"detail": "Not Found"}')

    def do_POST(self) -> None:
        """Hand a request on."""
        sent, begun = self.rfile.read(int(self.headers.get("Content-Length", 0))), datetime.now()
        user = self.user()
        if user is None:
            self.reply(401, b'{"error": "Unauthorized"}')
            return
        asked = json.loads(sent)
        if asked["model"] not in models():
            self.reply(404, b'{"object": "error", "error": "Unknown model"}')
            return
        found = ask_consumer(asked["model"], min(asked.get("priority", 5), user.priority))
        if found is None or not found["llm_url"]:
            self.reply(503, b'{"error": "Too many people using the service"}')
            return
        body = b"".join(self.hand_on(found, sent))
        counted = usage(body)
        with DATABASE.get_session() as session:
            session.add(
                Metric(
                    user_name=user.name,
                    user_organization=user.organization,
                    request_date=begun,
                    model=asked["model"],
                    server=found["llm_url"],
                    prompt_tokens=counted.get("prompt_tokens"),
                    completion_tokens=counted.get("completion_tokens"),
                )
            )
            session.commit()

    def hand_on(self, found: dict[str, Any], sent: bytes) -> Iterator[bytes]:
        """The engine's answer, which goes on as it comes, with status 200 whatever it had."""
        headers = {"Content-Type": "application/json"}
        if found["llm_token"]:
            headers["Authorization"] = f"Bearer {found['llm_token']}"
        request = _request(found["llm_url"] + self.path, sent, headers)
        try:
            answer: Any = OPENER.open(request, timeout=600)
        except urllib.error.HTTPError as error:
            answer = error
        self.send_response(200)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        with answer:
            while part := answer.read1(65536):
                self.wfile.write(part)
                yield part


if __name__ == "__main__":
    port = int(sys.argv[sys.argv.index("--port") + 1])
    Thread(target=keep_connected, daemon=True).start()
    ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever()  # noqa: S104 - in a container
