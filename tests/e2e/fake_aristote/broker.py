"""A connection to RabbitMQ, as both programs make one."""

from __future__ import annotations

import os

import pika


def connect() -> pika.BlockingConnection:
    """Connect with the variables that both have."""
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            host=os.environ["RABBITMQ_HOST"],
            port=int(os.environ["RABBITMQ_PORT"]),
            credentials=pika.PlainCredentials(
                os.environ["RABBITMQ_USER"], os.environ["RABBITMQ_PASSWORD"]
            ),
        )
    )
