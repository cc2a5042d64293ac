"""Addresses of stores: what is taken, and what is refused without being shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deploy.errors import SecretError
from deploy.secrets.store_urls import require_database_url, require_redis_url
from tests.recognisable import LEAK


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("postgresql://a:b@db/litellm", "postgresql://a:b@db/litellm"),
        ("postgres://a:b@db:6432/l?sslmode=require", "postgresql://a:b@db:6432/l?sslmode=require"),
        ("postgresql://a:p%40ss@[fd00::1]:5432/l", "postgresql://a:p%40ss@[fd00::1]:5432/l"),
    ],
)
def test_databases(url: str, read: str) -> None:
    assert require_database_url(url, "postgres.x") == read
    psycopg = require_database_url(url, "postgres.x", "postgresql+psycopg")
    assert psycopg == read.replace("postgresql://", "postgresql+psycopg://")


@pytest.mark.parametrize("url", ["redis://:b@cache:6379/0", "rediss://cache"])
def test_servers_with_redis_protocol(url: str) -> None:
    assert require_redis_url(url, "valkey.url") == url


@pytest.mark.parametrize(
    ("require", "url", "found"),
    [
        (require_database_url, "mysql://a:leaked@db/x", "it starts with mysql://"),
        (require_database_url, "leaked", "it starts with no scheme"),
        (require_database_url, "leaked:x", "it starts with no scheme"),
        (require_database_url, "postgresql://a:leaked@db", "it names no database"),
        (require_database_url, "postgresql://a:leaked@db/", "it names no database"),
        (require_database_url, "postgresql:///leaked", "it names no host"),
        (require_database_url, "postgresql://db/leaked", "it names no user"),
        (require_database_url, "postgresql://a:lea ked@db/x", "a space"),
        (require_database_url, "postgresql://a:leaked@db:port/x", "its port cannot be read"),
        (require_redis_url, "http://:leaked@cache", "it starts with http://"),
        (require_redis_url, "redis://", "it names no host"),
    ],
)
def test_what_is_refused(require: Callable[[str, str], str], url: str, found: str) -> None:
    with pytest.raises(SecretError) as refused:
        require(url, "postgres.x")
    (problem,) = refused.value.problems
    assert problem.path == "postgres.x"
    assert found in problem.found
    assert LEAK not in str(refused.value)
