"""Runs in the router's container: reads or changes people through LiteLLM's API.

The master key is in the container's environment, requests are on standard input: neither is an
argument. Prints one line of JSON. Python's standard library only.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from typing import Any

TIMEOUT_SECONDS = 30
PAGE = 100
ALL = "return_full_object=true"
LIMITS = ["max_budget", "budget_duration", "tpm_limit", "rpm_limit"]
COMMON = ["models", *LIMITS, "blocked", "metadata", "spend"]
TEAM = ["team_id", *COMMON]
USER = ["user_id", "user_email", "teams", "metadata", "spend"]
KEY = ["token", "key_alias", "user_id", "team_id", "max_parallel_requests", "expires", *COMMON]
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
NO_DATABASE = re.compile(r"not connected|No db connected|connect a database", re.IGNORECASE)


class RefusedError(Exception):
    """What LiteLLM said."""


def call(path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask the router of this container."""
    request = urllib.request.Request(
        "http://127.0.0.1:" + sys.argv[2] + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": "Bearer " + os.environ["LITELLM_MASTER_KEY"],
            "Content-Type": "application/json",
        },
    )
    try:
        with OPENER.open(request, timeout=TIMEOUT_SECONDS) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        said = error.read().decode("utf-8", "replace")[:1000]
        said = re.sub(r"sk-[\w-]+", "<key>", said)
        raise RefusedError(f"{path} answered {error.code}: {said}") from None
    except (OSError, ValueError) as error:
        raise RefusedError(f"{path}: {type(error).__name__}: {error}") from None


def pages(path: str, size: str, rows: str) -> list[dict[str, Any]]:
    """Every row of an answer in pages."""
    found: list[dict[str, Any]] = []
    page = 1
    while True:
        answer = call(f"{path}{size}={PAGE}&page={page}")
        found += answer[rows]
        if page >= int(answer.get("total_pages") or 0):
            return found
        page += 1


def only(rows: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """The fields that are compared."""
    return [{name: row.get(name) for name in names} for row in rows]


def look() -> dict[str, Any]:
    """Teams, people and keys.

    A router that was given a database has people, whether it reaches that yet or not: it is waited
    for, and never taken for one without.
    """
    end = time.monotonic() + TIMEOUT_SECONDS
    while (found := read())["state"] == "no database" and os.environ.get("DATABASE_URL"):
        if time.monotonic() > end:
            return {"state": "refused", "said": found["said"]}
        time.sleep(1)
    return found


def read() -> dict[str, Any]:
    """What the router says now."""
    try:
        return {
            "state": "read",
            "teams": only(call("/team/list"), TEAM),
            "users": only(pages("/user/list?", "page_size", "users"), USER),
            "keys": only(pages(f"/key/list?{ALL}&", "size", "keys"), KEY),
        }
    except RefusedError as error:
        state = "no database" if NO_DATABASE.search(str(error)) else "refused"
        return {"state": state, "said": str(error)}


def apply(requests: list[dict[str, Any]]) -> dict[str, Any]:
    """Send requests until one is refused."""
    for number, request in enumerate(requests):
        body = request["body"]
        ends = body.pop("ends", None)
        if ends:
            left = datetime.fromisoformat(ends) - datetime.now(timezone.utc)  # noqa: UP017
            body["duration"] = f"{max(int(left.total_seconds()), 1)}s"
        try:
            call(request["path"], body)
        except RefusedError as error:
            return {"done": number, "said": str(error)}
    return {"done": len(requests), "said": ""}


def wait_for_database() -> None:
    """A router that has just started may still be connecting."""
    end = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < end and read()["state"] != "read":
        time.sleep(1)


if __name__ == "__main__":
    if sys.argv[1] == "look":
        sys.stdout.write(json.dumps(look()) + "\n")
    else:
        wait_for_database()
        outcome = apply(json.load(sys.stdin))
        if outcome["said"]:
            sys.stderr.write(outcome["said"] + "\n")
            sys.exit(1)
