"""Stands in for ``alembic upgrade head``: makes the tables that are not there."""

from __future__ import annotations

import sys

from src.sender.db import Database
from src.sender.entities import Base
from src.sender.settings import Settings

if __name__ == "__main__":
    assert sys.argv[1:] == ["upgrade", "head"], sys.argv
    Base.metadata.create_all(Database(Settings()).engine)
