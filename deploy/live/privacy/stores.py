"""Valkey: all keys and values. SQLite of the web UI: all tables."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from docker.errors import DockerException

from deploy.live.connection import Connection
from deploy.live.privacy import execs
from deploy.live.privacy.needles import Hit, Needles
from deploy.live.privacy.places import MOST_BYTES, Place, of_search
from deploy.scripts import read_script
from deploy.services import Unit
from deploy.services.valkey import PORT

SQLITE_SECONDS = 60
PAGE = """\
local page = redis.call('SCAN', ARGV[1], 'COUNT', 500)
local out = {page[1]}
local function add(value)
  if type(value) == 'table' then for _, each in ipairs(value) do add(each) end
  elseif value then out[#out + 1] = tostring(value) end
end
local read = {
  string = {'GET'}, hash = {'HGETALL'}, set = {'SMEMBERS'},
  list = {'LRANGE', 0, -1}, zset = {'ZRANGE', 0, -1}, stream = {'XRANGE', '-', '+'},
}
for _, key in ipairs(page[2]) do
  add(key)
  local how = read[redis.call('TYPE', key)['ok']]
  if how and how[2] then add(redis.call(how[1], key, how[2], how[3]))
  elseif how then add(redis.call(how[1], key)) end
end
return table.concat(out, '\\n')
"""
ASK = f'REDISCLI_AUTH="$VALKEY_PASSWORD" exec valkey-cli -p {PORT} EVAL "$0" 0 "$1"'


def search_valkey(connection: Connection, unit: Unit, needles: Needles) -> Place:
    """Search everything that Valkey holds."""
    search, cursor, whole = needles.search(), b"0", True
    place = ("store", unit.name, unit.host, unit.runs.service)
    try:
        while True:
            command = ["sh", "-c", ASK, PAGE, cursor.decode()]
            answer = b"".join(execs.stream(connection.client, unit.name, command))
            cursor, _, values = answer.partition(b"\n")
            if not cursor.strip().isdigit():
                return Place(*place, "", problem="it does not show its keys")
            search.feed(values)
            whole = search.bytes_read < MOST_BYTES
            if cursor.strip() == b"0" or not whole:
                break
            cursor = cursor.strip()
    except DockerException as error:
        return Place(*place, "", problem=f"it cannot be asked: {type(error).__name__}")
    return of_search(*place, search, whole=whole)


def search_sqlite(
    connection: Connection,
    unit: Unit,
    path: PurePosixPath,
    needles: Needles,
    by_design: tuple[str, ...],
) -> Place:
    """Search a database of SQLite in a container that has Python.

    Args:
        connection: to its host.
        unit: whose it is.
        path: where it is in the container.
        needles: what is looked for.
        by_design: how tables begin that keep prompts by design.
    """
    place = ("database", f"{unit.name}, {path.name}", unit.host, "open_webui")
    script = read_script("search_sqlite.py")
    command = ["python3", "-c", script, str(path), str(SQLITE_SECONDS)]
    asked = {"word": needles.mark.word, "forms": [form for form, _ in needles.forms]}
    try:
        chunks = execs.stream(connection.client, unit.name, command, json.dumps(asked) + "\n")
        rows = [json.loads(line) for line in b"".join(chunks).splitlines()]
    except (DockerException, ValueError) as error:
        return Place(*place, "", problem=f"it cannot be read: {type(error).__name__}")
    hits = [hit for _, hit in needles.forms]
    wrong: set[Hit] = set()
    declared: set[Hit] = set()
    where = []
    for row in rows:
        seen = {needles.prompt(number) for number in row["marks"]}
        seen |= {hits[index] for index in row["forms"]}
        is_kept = row["table"].startswith(by_design)
        kept = {hit for hit in seen if hit.what == "prompt"} if is_kept else set()
        declared |= kept
        wrong |= seen - kept
        where += [row["table"]] if seen - kept else []
    amount = f"{sum(row['rows'] for row in rows)} rows of {len(rows)} tables"
    whole = rows and all(row["whole"] for row in rows)
    problem = "" if whole else f"not all of it was searched within {SQLITE_SECONDS} s"
    return Place(*place, amount, frozenset(wrong), frozenset(declared), problem, tuple(where))
