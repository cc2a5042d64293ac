"""The tables, with upstream's columns: its ``src/sender/entities``, v1.4.3."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, DateTime, Integer, String
from sqlalchemy.orm import declarative_base

Base: Any = declarative_base()


class User(Base):  # type: ignore[misc]
    """Who has a token."""

    __tablename__ = "users"
    id = Column(Integer, primary_key=True)
    token = Column(String(255), nullable=False, unique=True)
    name = Column(String(255), nullable=False, unique=True)
    organization = Column(String(255))
    email = Column(String(255))
    priority = Column(Integer, nullable=False)
    threshold = Column(Integer, nullable=False)
    client_type = Column(String(255))
    default_routing_mode = Column(String(255), nullable=False, server_default="any")


class Metric(Base):  # type: ignore[misc]
    """A request."""

    __tablename__ = "metrics"
    id = Column(Integer, primary_key=True)
    user_name = Column(String(255), nullable=False)
    user_organization = Column(String(255))
    request_date = Column(DateTime)
    model = Column(String(255))
    server = Column(String(255))
    prompt_tokens = Column(Integer)
    completion_tokens = Column(Integer)
