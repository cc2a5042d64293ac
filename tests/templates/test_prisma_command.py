"""The command in the place of Prisma's: what it applies, and what LiteLLM reads when it cannot."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deploy.render import TEMPLATES

PLACE = TEMPLATES / "images" / "litellm" / "prisma-command.py"


class DatabaseError(Exception):
    pass


class Answer(list[tuple[Any, ...]]):
    def fetchone(self) -> tuple[Any, ...]:
        return self[0]


class Database:
    """A database that answers what it was told to, and writes down what it was asked."""

    def __init__(self, **answers: list[tuple[Any, ...]]) -> None:
        self.answers: dict[str, list[tuple[Any, ...]]] = {"to_regclass": [(None,)]}
        self.answers |= {"information_schema": [(0,)], **answers}
        self.asked: list[str] = []
        self.broken = b""

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def execute(self, statement: str | bytes, values: tuple[Any, ...] = ()) -> Answer:
        if isinstance(statement, bytes):
            self.asked.append(statement.decode())
            if statement == self.broken:
                raise DatabaseError("relation does not exist")
            return Answer()
        self.asked.append(" ".join([*statement.split(), *map(str, values)]))
        known = (rows for word, rows in self.answers.items() if word in statement)
        rows: list[tuple[Any, ...]] = next(known, [])
        return Answer(rows)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    psycopg = ModuleType("psycopg")
    vars(psycopg).update(Error=DatabaseError, Connection=Database)
    monkeypatch.setitem(sys.modules, "psycopg", psycopg)
    # nothing is left beside a file that images are built from
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_file_location("prisma_command", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("DATABASE_URL", "postgresql://a:b@db/x?connection_limit=10&sslmode=require")
    return module


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    for name in ("20260102_second", "20260101_first"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "migration.sql").write_text(f"-- {name}")
    return tmp_path


def connect(command: Any, monkeypatch: pytest.MonkeyPatch, database: Database) -> list[str]:
    texts: list[str] = []

    def _connect(text: str, **_: Any) -> Database:
        texts.append(text)
        return database

    monkeypatch.setattr(command.psycopg, "connect", _connect, raising=False)
    return texts


def test_addresses(command: Any) -> None:
    text = command.connection_text("postgresql://a:b@db/x?connection_limit=1&schema=s&sslmode=off")
    assert text == ("postgresql://a:b@db/x?sslmode=off", "s")
    assert command.connection_text("postgresql://a@db/x") == ("postgresql://a@db/x", "public")


def test_everything_is_applied_in_order_under_the_lock(
    command: Any, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database()
    texts = connect(command, monkeypatch, database)
    assert command.deploy(migrations) == "2 of 2 migrations applied"
    assert texts == ["postgresql://a:b@db/x?sslmode=require"]
    assert database.asked[0] == "SELECT pg_advisory_lock(%s) 72707369"
    applied = [statement for statement in database.asked if statement.startswith("-- ")]
    assert applied == ["-- 20260101_first", "-- 20260102_second"]
    finished = [statement for statement in database.asked if "SET finished_at" in statement]
    assert len(finished) == 2


def test_what_is_applied_is_not_applied_again(
    command: Any, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(to_regclass=[("_prisma_migrations",)], information_schema=[(70,)])
    database.answers["finished_at IS NOT NULL"] = [("20260101_first",)]
    connect(command, monkeypatch, database)
    assert command.deploy(migrations) == "1 of 2 migrations applied"


def test_one_that_fails_is_named_as_prisma_names_it(
    command: Any, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database()
    database.broken = b"-- 20260102_second"
    connect(command, monkeypatch, database)
    with pytest.raises(SystemExit) as failed:
        command.deploy(migrations)
    assert "P3018" in str(failed.value)
    assert "Migration name: 20260102_second\n" in str(failed.value)
    assert "SET logs = %s" in database.asked[-1]


def test_one_that_was_left_half_way(
    command: Any, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [("20260101_first", "2026-01-01")]
    database = Database(**{"ORDER BY started_at": left})
    connect(command, monkeypatch, database)
    with pytest.raises(SystemExit, match=r"P3009[^`]*`20260101_first` migration started at 2026"):
        command.deploy(migrations)


def test_a_database_of_somebody_else(
    command: Any, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(command, monkeypatch, Database(information_schema=[(3,)]))
    with pytest.raises(SystemExit, match="give it one of its own"):
        command.deploy(migrations)


def test_other_commands_are_refused(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["--version"])
    assert "without Prisma's native engine" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="prisma migrate diff needs Prisma's native engine"):
        command.main(["migrate", "diff", "--from-url", "postgresql://a:secret@db/x"])
