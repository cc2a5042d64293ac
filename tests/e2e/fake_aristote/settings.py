"""The variables that Aristote's programs read."""

from __future__ import annotations

import os


class Settings:
    """Those of the sender and of the consumer."""

    @property
    def database_url(self) -> str:
        """Address of the database, as SQLAlchemy writes it."""
        return os.environ["DATABASE_URL"]

    @property
    def message_seconds(self) -> float:
        """How long a sender waits for a consumer."""
        return float(os.environ["MESSAGE_TIMEOUT"])

    @property
    def management_url(self) -> str:
        """Address of RabbitMQ's management plugin."""
        return f"http://{os.environ['RABBITMQ_HOST']}:{os.environ['RABBITMQ_MANAGEMENT_PORT']}"
