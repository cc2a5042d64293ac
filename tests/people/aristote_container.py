"""A stand-in for the container of Aristote's sender: its program, on SQLite."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import scripts
from deploy.people.records import Live, live
from deploy.people.requests import Request

ACCOUNT = {"name": "atelier", "organization": "lab", "priority": 3, "threshold": 10}
MASTER = "sk-master"
# psycopg2 as the program uses it, on SQLite
DRIVER = """
import contextlib, os, sqlite3

class Error(Exception): pass

class Cursor:
    def __init__(self, cursor): self.cursor = cursor
    def execute(self, statement, values=()):
        try:
            self.cursor.execute(statement.replace("%s", "?"), values)
        except sqlite3.Error as error:
            raise Error(f"{error}: {values}") from None
    def fetchall(self): return self.cursor.fetchall()
    def fetchone(self): return self.cursor.fetchone()

class Connection:
    def __init__(self):
        self.inner = sqlite3.connect(os.environ["DATABASE_FILE"])
        self.inner.execute("ATTACH ':memory:' AS information_schema")
        self.inner.execute(
            "CREATE TABLE information_schema.tables AS SELECT name AS table_name"
            " FROM main.sqlite_master WHERE type = 'table'"
        )
        self.inner.commit()
    def __enter__(self): return self
    def __exit__(self, kind, *_): self.inner.rollback() if kind else self.inner.commit()
    @contextlib.contextmanager
    def cursor(self): yield Cursor(self.inner.cursor())

def connect(url):
    assert url == "postgresql://aristote:secret@db/aristote", url
    return Connection()
"""
USERS = """
CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, token varchar(255) NOT NULL UNIQUE,
  name varchar(255) NOT NULL UNIQUE, organization varchar(255), email varchar(255),
  priority integer NOT NULL, threshold integer NOT NULL, client_type varchar(255),
  default_routing_mode varchar(13) DEFAULT 'any' NOT NULL)
"""

METRICS = """
CREATE TABLE metrics (user_name varchar, user_organization varchar, model varchar,
  request_date timestamp, prompt_tokens integer, completion_tokens integer)
"""


@dataclass
class Container:
    """A sender's container: its environment, and the tables that it reaches."""

    directory: Path
    mode: str = "any"

    @property
    def database(self) -> Path:
        return self.directory / "aristote.db"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self.directory),
            "DATABASE_FILE": str(self.database),
            "DATABASE_URL": "postgresql+psycopg2://aristote:secret@db/aristote",
            "ATELIER_ACCOUNT": json.dumps({**ACCOUNT, "default_routing_mode": self.mode}),
            "MODEL_HOST_MAPPING": json.dumps({"big": ["lab"], "tiny": ["physics", "lab"]}),
        }

    def run(self, action: str, line: str = "") -> subprocess.CompletedProcess[str]:
        program = scripts.read_script("aristote_people.py")
        return subprocess.run(
            [sys.executable, "-c", program, action, "4000"],
            input=line,
            capture_output=True,
            text=True,
            env=self.environment,
        )

    def look(self) -> Live:
        return live(json.loads(self.run("look").stdout))

    def send(self, requests: list[Request]) -> subprocess.CompletedProcess[str]:
        return self.run("apply", json.dumps([{"path": r.path, "body": r.body} for r in requests]))

    def execute(self, statement: str, *values: str) -> None:
        """Do something by hand."""
        connection = sqlite3.connect(self.database)
        connection.execute(statement, values)
        connection.commit()
        connection.close()

    def users(self) -> dict[str, tuple[Any, ...]]:
        """Token, organisation, address and priority by name, as Aristote reads them."""
        connection = sqlite3.connect(self.database)
        rows = connection.execute(
            "SELECT name, token, organization, email, priority, threshold FROM users"
        ).fetchall()
        connection.close()
        return {name: tuple(rest) for name, *rest in rows}


def make_container(directory: Path) -> Container:
    """One with the deployment's own user, and one that was made by hand."""
    found = Container(directory)
    (directory / "psycopg2.py").write_text(DRIVER)
    connection = sqlite3.connect(found.database)
    connection.execute(USERS)
    connection.execute(METRICS)
    for name, token in (("atelier", MASTER), ("by-hand", "sk-by-hand")):
        row = (token, name, "lab", 3, 10)
        connection.execute(
            "INSERT INTO users (token, name, organization, priority, threshold)"
            " VALUES (?, ?, ?, ?, ?)",
            row,
        )
    connection.commit()
    connection.close()
    return found
