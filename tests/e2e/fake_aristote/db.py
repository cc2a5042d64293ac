"""The database of the sender."""

from __future__ import annotations

from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from src.sender.settings import Settings


class Database:
    """Opens sessions."""

    def __init__(self, settings: Settings) -> None:
        self.engine = create_engine(settings.database_url)

    def get_session(self) -> Session:
        """A session of SQLAlchemy."""
        return Session(self.engine)
