"""Stands in for a consumer: answers each message of its model's queue with an engine's address.

Queues and messages: ``src/consumer/rpc_server.py`` and ``src/common/message_data.py``, v1.4.3
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from typing import Any

import pika
from src.broker import connect

MODEL = os.environ["MODEL"]
SERVERS: dict[str, dict[str, Any]] = json.loads(os.environ["VLLM_SERVERS"])
NEXT = itertools.cycle(SERVERS)
EXPIRES = {"x-expires": int(os.environ["RPC_QUEUE_EXPIRATION"])}
QUEUE = EXPIRES | {
    "x-message-ttl": int(os.environ["RPC_MESSAGE_EXPIRATION"]),
    "x-max-priority": 5,
}


def answer(channel: Any, method: Any, properties: Any, _: bytes) -> None:
    """Send an engine's address to who asks."""
    url = next(NEXT)
    limit = SERVERS[url].get("max_parallel_requests", 100)
    message = {
        "llm_url": url,
        "llm_token": SERVERS[url].get("token"),
        "llm_organization": SERVERS[url]["organization"],
        "strategy": os.environ["ROUTING_STRATEGY"],
        "max_parallel_requests": limit,
    }
    reply = pika.BasicProperties(correlation_id=properties.correlation_id)
    channel.basic_publish("", properties.reply_to, json.dumps(message).encode(), reply)
    channel.basic_ack(method.delivery_tag)


def completed(channel: Any, method: Any, *_: Any) -> None:
    """A slot is free again; here none is ever taken."""
    channel.basic_ack(method.delivery_tag)


def serve() -> None:
    """Answer until the connection ends."""
    channel = connect().channel()
    channel.basic_qos(prefetch_count=1)
    channel.queue_declare(MODEL, durable=True, arguments=QUEUE)
    channel.queue_declare(f"{MODEL}_completed", durable=True, arguments=EXPIRES)
    channel.basic_consume(MODEL, answer)
    channel.basic_consume(f"{MODEL}_completed", completed)
    channel.start_consuming()


if __name__ == "__main__":
    while True:
        try:
            serve()
        except pika.exceptions.AMQPError as error:
            sys.stderr.write(f"connecting again: {type(error).__name__}\n")
            time.sleep(1)
