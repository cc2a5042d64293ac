"""Marks and keys are found wherever they are, and nothing of what stands around them is shown."""

from __future__ import annotations

import base64
import json
import os
import shlex
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.artefacts import Artefacts
from deploy.cli.privacy import advice, found_text, remedy
from deploy.live.privacy import browsers, databases, doors, execs, files, silence, stores, ways
from deploy.live.privacy.doors import Asked, Door
from deploy.live.privacy.look import Look
from deploy.live.privacy.needles import Hit, Mark, Needles
from deploy.live.privacy.places import Place
from deploy.live.privacy.silence import Silence, _not_blind
from deploy.scripts import read_script
from tests.conftest import MakeArtefacts
from tests.services.test_vllm import CODER
from tests.services.test_vllm import made as on_gpus

KEY = "sk-a-key-0123456789abcdef"


@pytest.fixture
def needles() -> Needles:
    return Needles(Mark.new(), {"router_master_key": KEY, "short": "abc"})


# what is looked for


def test_a_mark_says_which_request_carried_it(needles: Needles) -> None:
    needles.mark.carried_by("whole, router 0")
    word = needles.mark.carried_by("streamed, entry")
    search = needles.search()
    search.feed(f"... {word} ...".encode())
    assert search.found == {Hit("prompt", "streamed, entry")}


@given(cut=st.integers(0, 200), position=st.integers(0, 150))
def test_it_is_found_across_chunks(cut: int, position: int) -> None:
    needles = Needles(Mark.new(), {"router_master_key": KEY})
    text = b"x" * position + f"{needles.mark.carried_by('a')} {KEY}".encode() + b"y" * 100
    search = needles.search()
    search.feed(text[:cut])
    search.feed(text[cut:])
    assert search.found == {Hit("prompt", "a"), Hit("router_master_key")}


def test_a_secret_with_signs_is_found_in_json_and_in_addresses() -> None:
    password = 'pä "ss\\wörd &1'
    needles = Needles(Mark.new(), {"web_ui_admin_password": password})
    body = json.dumps({"password": password})
    unescaped = json.dumps({"password": password}, ensure_ascii=False)
    for text in (password, body, unescaped, urlencode({"p": password}, quote_via=quote)):
        search = needles.search()
        search.feed(text.encode())
        assert search.found == {Hit("web_ui_admin_password")}, text


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc"])
def test_it_is_found_in_other_forms(needles: Needles, before: bytes) -> None:
    word = needles.mark.carried_by("a").encode()
    for value, what in ((word, "prompt"), (KEY.encode(), "router_master_key")):
        for text in (base64.b64encode(before + value + b" and more"), value.hex().encode()):
            search = needles.search()
            search.feed(b'{"data": "' + text + b'"}')
            assert {hit.what for hit in search.found} == {what}


def test_what_is_short_or_something_else_is_not_found(needles: Needles) -> None:
    search = needles.search()
    assert search.feed_all([b"abc sk-a-key-0123 atelierprivacy", b"x" * 100], 10**6)
    assert search.found == set()
    assert not search.feed_all([b"x" * 100, b"y"], 150)


# doors


def test_every_request_carries_its_own_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def prepare(method: str, base: Any, path: str, key: str, **content: Any) -> Any:
        sent.append(f"{path} {key} {content.get('content') or json.dumps(content.get('json'))}")
        reply = SimpleNamespace(
            status_code=200, read=lambda: b"", close=lambda: None, iter_bytes=lambda: iter([b"x"])
        )
        request = SimpleNamespace(headers={})
        return SimpleNamespace(send=lambda *_, **__: reply), request

    monkeypatch.setattr(doors, "prepare", prepare)
    mark = Mark.new()
    others: tuple[tuple[str, doors.Use], ...] = (
        *(("m", "chat"), ("other", "chat"), ("fim", "completion")),
        *(("bge", "embedding"), ("ranks", "rerank")),
    )
    door = Door("entry", "http://x", KEY, "m", "m", 2048, others=others)
    asked = list(doors.ask_all(door, mark))
    assert len(asked) == len(sent) == len(mark.requests) == 17 + 2 * 4
    for number, text in enumerate(sent):
        assert f"{mark.word}{number:03x}" in text
        assert doors.MARK not in text
    kinds = {each.request.partition(",")[0] for each in asked}
    assert {"whole", "streamed", "cut off", "too long", "no JSON", "a wrong key"} <= kinds
    [too_long] = [text for text in sent if len(text) > 4 * 2048]
    assert "chat/completions" in too_long
    # an engine that no one asks would keep nothing, whatever it logs
    for model, path in (
        ("other", doors.CHAT),
        ("fim", doors.COMPLETION),
        ("bge", doors.EMBEDDINGS),
        ("ranks", doors.RERANK),
    ):
        asked_of_it = [text for text in sent if f'"model": "{model}"' in text]
        assert [text.split()[0] for text in asked_of_it] == [path, path]


def test_every_model_is_asked(make: MakeArtefacts) -> None:
    more = [{"name": "qwen2.5-coder-1.5b-base"}, {"name": "bge-m3"}, {"name": "bge-reranker-v2-m3"}]
    made = on_gpus(make, CODER, models=[CODER, *more])
    assert dict(ways._others(made, made.plan.router)) == {
        made.plan.default_model: "chat",
        "qwen2.5-coder-1.5b-base": "completion",
        "bge-m3": "embedding",
        "bge-reranker-v2-m3": "rerank",
    }


# files: the script runs for real


def look(needles: Needles, *tops: Path | str, minutes: int = 5, kib: int = 64) -> Place:
    script = read_script("search_files.sh")
    word = needles.mark.word
    forms, hits = zip(*needles.forms, strict=True)
    finished = subprocess.run(
        ["sh", "-c", script, "atelier", word, str(minutes), str(kib), *map(str, tops)],
        input="".join(f"{form}\n" for form in (*forms, ".")),
        capture_output=True,
        text=True,
        check=True,
    )
    assert KEY not in finished.stdout
    return files._place(("files", "c", "h", "litellm"), finished.stdout, needles, hits)


def test_new_files_are_searched(tmp_path: Path, needles: Needles) -> None:
    word = needles.mark.carried_by("whole, entry")
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a folder" / "a file").write_bytes(b"\0binary " + word.encode() + b"\xff")
    (tmp_path / "kept").write_text(f"KEY={KEY}")
    (tmp_path / "clean").write_text("nothing")
    (tmp_path / f"named-{word}").write_text("")
    found = look(needles, tmp_path, tmp_path / "not there")
    assert found.found == {Hit("prompt", "whole, entry"), Hit("router_master_key")}
    assert found.amount == "4 new files"
    assert str(tmp_path / "kept") in found.where
    assert not found.problem
    # a name can be what somebody asked
    assert needles.mark.word not in " ".join(found.where)


def test_old_files_and_those_left_out_are_not(tmp_path: Path, needles: Needles) -> None:
    word = needles.mark.carried_by("a")
    old = tmp_path / "old"
    old.write_text(word)
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "1").write_text(word)
    found = look(needles, tmp_path, f"!{tmp_path}/base")
    assert (found.found, found.amount) == (frozenset(), "0 new files")
    assert look(needles, tmp_path, minutes=300).found


def test_large_files_are_named(tmp_path: Path, needles: Needles) -> None:
    (tmp_path / "large").write_bytes(b"x" * 200_000)
    found = look(needles, tmp_path)
    assert not found.ok
    assert found.problem.endswith(str(tmp_path / "large"))


def test_files_are_searched_for_other_forms(tmp_path: Path, needles: Needles) -> None:
    word = needles.mark.carried_by("a").encode()
    (tmp_path / "prompts").write_bytes(b"x" + base64.b64encode(b"say " + word + b" now"))
    (tmp_path / "keys").write_text(KEY.encode().hex())
    found = look(needles, tmp_path)
    assert found.found == {Hit("prompt"), Hit("router_master_key")}
    assert set(found.where) == {str(tmp_path / "prompts"), str(tmp_path / "keys")}


def test_a_host_is_searched_for_marks_alone(tmp_path: Path, needles: Needles) -> None:
    word = needles.mark.carried_by("whole, entry")
    (tmp_path / "deployment").mkdir()
    (tmp_path / "deployment/plain").write_text(word)
    (tmp_path / "deployment/encoded").write_text(word.encode().hex())
    (tmp_path / "deployment/keys").write_text(KEY)

    def run(command: str) -> tuple[int, str]:
        # as sudo does it: the first word is a program
        finished = subprocess.run(shlex.split(command), capture_output=True, text=True)
        return finished.returncode, finished.stdout

    host: Any = SimpleNamespace(run=run)
    directory, data = PurePosixPath(tmp_path / "deployment"), PurePosixPath(tmp_path / "data")
    found = files.search_host(host, "h", directory, data, [], 5, needles)
    assert found.found == {Hit("prompt", "whole, entry"), Hit("prompt")}
    assert (found.amount, found.problem) == ("3 new files", "")
    assert found.name == str(directory)
    # as systemd makes it for accounts that are there only while a service runs
    (tmp_path / "private").mkdir()
    (tmp_path / "private/state").write_text(needles.mark.carried_by("streamed, entry"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/an engine").symlink_to("../private")
    found = files.search_host(host, "h", directory, data, ["an engine"], 5, needles)
    assert Hit("prompt", "streamed, entry") in found.found
    assert found.name == f"{directory}, {data}"


def test_what_cannot_be_searched_is_no_silence(tmp_path: Path, needles: Needles) -> None:
    script = read_script("search_files.sh")
    finished = subprocess.run(
        ["/bin/sh", "-c", script, "atelier", needles.mark.word, "5", "64", "/tmp"],
        input=".\n",
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    found = files._place(("files", "c", "h", "s"), finished.stdout, needles, [])
    assert found.problem == "it cannot be searched"
    assert not found.ok


def test_a_new_directory_that_is_closed_is_no_silence(needles: Needles) -> None:
    closed = "unreadable /tmp/closed\nfiles 3\n"
    assert files._place(("files", "c", "h", "s"), closed, needles, []).problem.endswith("closed")


# databases


def test_sqlite_is_searched_table_by_table(tmp_path: Path, needles: Needles) -> None:
    path = tmp_path / "webui.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE chat (chat TEXT)")
        connection.execute("CREATE TABLE config (data BLOB)")
        word = needles.mark.carried_by(browsers.KEPT)
        connection.execute("INSERT INTO chat VALUES (?)", [json.dumps({"said": word})])
        connection.execute("INSERT INTO config VALUES (?)", [f"key {KEY}".encode()])
        connection.execute("CREATE TABLE cache (key TEXT)")
        connection.execute("INSERT INTO cache VALUES (?)", [word.encode().hex()])
    asked = {"word": needles.mark.word, "forms": [form for form, _ in needles.forms]}
    finished = subprocess.run(
        [sys.executable, "-c", read_script("search_sqlite.py"), str(path), "60"],
        input=json.dumps(asked) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert KEY not in finished.stdout
    client = SimpleNamespace()
    unit: Any = SimpleNamespace(name="w", host="h", runs=SimpleNamespace(service="open-webui"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execs, "stream", lambda *_: iter([finished.stdout.encode()]))
        connection_: Any = SimpleNamespace(client=client)
        found = stores.search_sqlite(connection_, unit, path, needles, ("chat",))  # type: ignore[arg-type]
    assert found.kept_by_design == {Hit("prompt", browsers.KEPT)}
    assert found.found == {Hit("router_master_key"), Hit("prompt")}
    assert found.where == ("config", "cache")
    assert _not_blind(found) == found


def rows(needles: Needles, text: str, errors: bytes = b"") -> Place:
    server = databases.Server(SimpleNamespace(), "db", "h", "7")  # type: ignore[arg-type]
    chunks = iter([(text[:50].encode(), b""), (b"", errors), (text[50:].encode(), b"")])
    found = databases._read(chunks, needles)
    return server._of("open_webui", found, ("chat",))


def test_new_rows_of_postgresql(needles: Needles) -> None:
    asked, kept = needles.mark.carried_by("whole, entry"), needles.mark.carried_by(browsers.KEPT)
    text = f'atelier-table public."Logs"\n1\t{asked}\n2\tx\natelier-table public.chat\n{kept}\n'
    found = rows(needles, text)
    assert found.found == {Hit("prompt", "whole, entry")}
    assert found.kept_by_design == {Hit("prompt", browsers.KEPT)}
    assert found.where == ('public."Logs"',)
    assert found.amount.startswith("3 new rows of 2 tables")


def test_a_table_that_does_not_answer_is_a_problem(needles: Needles) -> None:
    """Errors come before the rest of a line that psql has not printed yet."""
    word = needles.mark.carried_by("whole, entry")
    text = f"atelier-table public.a\n1\t{word}\n"
    found = rows(needles, text, b"ERROR:  canceling statement due to timeout\n")
    assert found.problem == "one of its tables did not answer in time, or not at all"
    assert found.found == {Hit("prompt", "whole, entry")}


def test_warnings_of_postgresql_are_no_answers(
    monkeypatch: pytest.MonkeyPatch, needles: Needles
) -> None:
    """Each psql gets them where an image has newer collations than those that made the database."""
    warning = b'WARNING:  database "litellm" has a collation version mismatch\n'
    monkeypatch.setattr(execs, "stream_apart", lambda *_: iter([(b"", warning), (b"812\n", b"")]))
    connection: Any = SimpleNamespace(client=None)
    assert databases.open_server(connection, "db", "h").transaction == "812"
    assert rows(needles, "atelier-table public.a\nx\n", warning).ok


def test_a_blind_search_is_found_out(needles: Needles) -> None:
    assert "does not work" in _not_blind(rows(needles, "atelier-table public.chat\nx\n")).problem


# what is said


def place(**more: Any) -> Place:
    return Place("log", "lab-litellm-0", "gpu1", "litellm", "1 KiB", **more)


def test_what_is_found_is_said_with_what_to_do() -> None:
    found = place(found=frozenset({Hit("prompt", "whole, entry"), Hit("router_master_key")}))
    assert found_text(found) == "FOUND: prompt, router_master_key"
    where, fix = advice(Silence((), (found, place())))
    assert where == "log lab-litellm-0 on gpu1: prompt of whole, entry, router_master_key"
    assert "LITELLM_LOG=DEBUG" in fix
    assert not Silence((), (found,)).ok
    assert Silence((), (place(kept_by_design=frozenset({Hit("prompt")})),)).ok
    assert "find out which program" in remedy(Place("files", "x", "h", "other", ""))
    assert found_text(place()) == "nothing"


def test_rows_are_waited_for_before_anything_is_looked_through(
    demo: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    def ask(look: Any, say: Any) -> Iterator[Place]:
        look.asked.append(Asked("whole, entry", "200"))
        happened.append("asked")
        yield from ()

    def wait(look: Any) -> Iterator[Place]:
        happened.append("waited")
        yield Place("database", "rows", "h", "litellm", "", problem="late")

    def searches(look: Any) -> Iterator[Any]:
        def search() -> Place:
            happened.append("looked")
            return place()

        yield search

    def begin(artefacts: Artefacts, hosts: Any) -> Any:
        return Look(artefacts, hosts, Needles(Mark.new(), {}))

    monkeypatch.setattr(silence, "connect", lambda *_, **__: nullcontext())
    monkeypatch.setattr(silence, "KeptChat", lambda _: nullcontext())
    for name, stand_in in (
        *(("begin", begin), ("_ask", ask)),
        *(("_wait_for_rows", wait), ("_searches", searches)),
    ):
        monkeypatch.setattr(silence, name, stand_in)
    demo.secrets.save()
    found = silence.look_for_leaks(demo, lambda _: None)
    assert happened == ["asked", "waited", "looked"]
    assert [each.problem for each in found.places] == ["late", ""]
    assert not found.ok
