"""Two routers, as they are asked after a deployment: by verify, for privacy, under a load."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from deploy.artefacts import Artefacts, make_artefacts
from deploy.cli.users import _print_missing
from deploy.errors import PlanError
from deploy.live import router as live_router
from deploy.live.load.parts import asked_router, choose_parts
from deploy.live.load.target import open_target
from deploy.live.load.workload import Choice
from deploy.live.privacy.ways import find_doors
from deploy.live.verify import verify
from tests.cli.run import run
from tests.conftest import MakeArtefacts
from tests.recognisable import write_secrets

CHAT, TYPE = "qwen2.5-coder-7b", "qwen2.5-coder-1.5b-base"
ARISTOTE, LITELLM = {"kind": "aristote"}, {"kind": "litellm", "port": 4001}
LAB: dict[str, Any] = {
    "hosts": [{"name": "@local", "gpus": "2x l40s"}],
    "engine": {"kind": "vllm"},
    "models": [
        {"name": CHAT, "roles": ["chat"], "gpus": 1},
        {"name": TYPE, "gpus": 1},
    ],
    "postgres": {},
    "web_ui": None,
}


class Host:
    """A connection to a host on which everything has an address, and nothing answers."""

    def __init__(self, artefacts: Artefacts) -> None:
        self.addresses: dict[str, str] = {}
        containers = SimpleNamespace(get=lambda name: self._container(artefacts, name))
        self.client = SimpleNamespace(containers=containers)

    @staticmethod
    def _container(artefacts: Artefacts, name: str) -> Any:
        networks = {artefacts.plan.name: {"IPAddress": name}}
        return SimpleNamespace(attrs={"NetworkSettings": {"Networks": networks}})

    @staticmethod
    def reach(address: str, port: int) -> str:
        return f"http://{address}:{port}"

    @staticmethod
    def way(address: str, port: int) -> tuple[str, int]:
        return address, port


@pytest.fixture
def lab(make: MakeArtefacts, tmp_path: Path) -> Any:
    def made(*routers: dict[str, Any], **more: Any) -> Artefacts:
        artefacts = make(**LAB | more, routers=routers)
        artefacts.secrets.save()
        return make_artefacts(artefacts.spec, tmp_path)

    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Address and path of everything that is asked."""
    found: list[tuple[str, str]] = []

    def ask(base: Any, path: str, *_: Any, **__: Any) -> Any:
        url = base if isinstance(base, str) else f"entry of {base.name}"
        found.append((url, path))
        raise ValueError(path)

    for name in ("checks.post", "checks.stream", "ready.get"):
        monkeypatch.setattr(f"deploy.live.{name}", ask)
    monkeypatch.setattr("deploy.live.verify.ask_entry", lambda *_: "")
    return found


def questions(
    artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, str]]
) -> set[tuple[str, str]]:
    """What routers and entry are asked by verify; engines and replicas are not looked at."""

    @contextmanager
    def connect(*_: Any, **__: Any) -> Iterator[Host]:
        yield Host(artefacts)

    monkeypatch.setattr("deploy.live.verify.connect", connect)
    for check in verify(artefacts):
        assert check.name
    places = ("entry of", "http://127.0.0.1:400")
    return {each for each in asked if each[0].startswith(places)}


CHATS, COMPLETES = "/v1/chat/completions", "/v1/completions"


@pytest.mark.parametrize(
    ("routers", "entry", "wanted"),
    [
        ([ARISTOTE, LITELLM], False, {(":4000", CHATS), (":4001", COMPLETES)}),
        ([ARISTOTE, LITELLM], True, {("entry", CHATS), ("entry", COMPLETES)}),
        (
            [LITELLM, ARISTOTE],
            False,
            {(":4001", CHATS), (":4001", COMPLETES), (":4000", CHATS)},
        ),
        (
            [LITELLM, ARISTOTE],
            True,
            # no entry leads to Aristote there: it is asked at its own port
            {("entry", CHATS), ("entry", COMPLETES), (":4000", CHATS)},
        ),
    ],
)
def test_each_is_asked_what_it_answers(
    lab: Any,
    monkeypatch: pytest.MonkeyPatch,
    asked: list[tuple[str, str]],
    routers: list[dict[str, Any]],
    entry: bool,
    wanted: set[tuple[str, str]],
) -> None:
    artefacts = lab(*routers, **({"entry": {}} if entry else {}))
    found = questions(artefacts, monkeypatch, asked)
    short = {
        ("entry" if url.startswith("entry") else url.removeprefix("http://127.0.0.1"), path)
        for url, path in found
    }
    assert short == wanted


def test_checks_are_called_after_their_router(
    lab: Any, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, str]]
) -> None:
    artefacts = lab(ARISTOTE, LITELLM)

    @contextmanager
    def connect(*_: Any, **__: Any) -> Iterator[Host]:
        yield Host(artefacts)

    monkeypatch.setattr("deploy.live.verify.connect", connect)
    names = [check.name for check in verify(artefacts) if not check.name.startswith("engine ")]
    assert names == [
        "Aristote replica 0",
        "LiteLLM replica 0",
        f"Aristote {CHAT} chat",
        f"Aristote {CHAT} streamed chat",
        f"LiteLLM {TYPE} completion",
        f"LiteLLM {TYPE} streamed completion",
    ]
    assert ("http://demo-aristote-sender-0:8080", "/v1/models") in asked
    assert ("http://demo-litellm-0:4000", "/v1/models") in asked


def test_privacy_knocks_at_every_door(lab: Any) -> None:
    artefacts = lab(ARISTOTE, LITELLM, entry={})
    look: Any = SimpleNamespace(artefacts=artefacts, hosts={"@local": Host(artefacts)})
    doors = {door.name: door for door in find_doors(look)}
    assert list(doors) == ["Aristote 0", "LiteLLM 0", "entry"]
    assert (doors["Aristote 0"].model, doors["Aristote 0"].completion_model) == (CHAT, CHAT)
    assert (doors["LiteLLM 0"].model, doors["LiteLLM 0"].completion_model) == (TYPE, TYPE)
    assert (doors["entry"].model, doors["entry"].completion_model) == (CHAT, TYPE)
    assert doors["LiteLLM 0"].base == "http://demo-litellm-0:4000"


def test_a_load_goes_where_people_go(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    artefacts = lab(ARISTOTE, LITELLM)
    reached: list[tuple[str, int]] = []

    @contextmanager
    def connected(way: tuple[str, int], _: float) -> Iterator[None]:
        reached.append(way)
        yield

    monkeypatch.setattr("deploy.live.load.target.socket.create_connection", connected)
    for choice, port in ((Choice.CHATS, 4000), (Choice.COMPLETIONS, 4001)):
        router = asked_router(artefacts, choose_parts(artefacts, None, 2, choice))
        with open_target(artefacts, router, "sk-key") as target:
            assert target.shown == f"http://127.0.0.1:{port}"
        assert reached[-1] == ("127.0.0.1", port)


def test_a_load_of_both_uses_wants_an_entry(lab: Any) -> None:
    both = choose_parts(lab(ARISTOTE, LITELLM), None, 2, Choice.BOTH)
    with pytest.raises(PlanError) as refused:
        asked_router(lab(ARISTOTE, LITELLM), both)
    [problem] = refused.value.problems
    assert problem.fix == "give --use chats or --use completions, or declare entry=Entry()"
    artefacts = lab(ARISTOTE, LITELLM, entry={})
    assert asked_router(artefacts, choose_parts(artefacts, None, 2, Choice.BOTH))
    one = lab(LITELLM)
    assert asked_router(one, choose_parts(one, None, 2, Choice.BOTH)) == one.plan.router


def test_a_model_for_chat_alone_is_not_completed_with(lab: Any) -> None:
    with pytest.raises(PlanError, match=f"{CHAT} is not for completions"):
        choose_parts(lab(ARISTOTE, LITELLM), None, 2, Choice.COMPLETIONS, CHAT)


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    write_secrets(tmp_path / ".secrets" / "demo.yaml")
    path = tmp_path / "demo.yaml"
    path.write_text(yaml.safe_dump({"name": "demo", **LAB, "routers": [ARISTOTE, LITELLM]}))
    return path


def test_info_shows_where_code_is_completed(inventory: Path) -> None:
    assert "to complete code   http://127.0.0.1:4001/v1" in run("info", str(inventory))
    found = json.loads(run("info", str(inventory), "--json"))
    assert found["router_url"] == "http://127.0.0.1:4000/v1"
    assert found["completions_url"] == "http://127.0.0.1:4001/v1"


def test_a_router_that_does_not_run_is_named(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    artefacts = lab(ARISTOTE, LITELLM)

    @contextmanager
    def connect(*_: Any, **__: Any) -> Iterator[Any]:
        running = [SimpleNamespace(name="demo-aristote-sender-0")]
        containers = SimpleNamespace(list=lambda: running)
        yield SimpleNamespace(client=SimpleNamespace(containers=containers))

    monkeypatch.setattr(live_router, "connect", connect)
    with (
        pytest.raises(Exception, match="demo-litellm-0: no router runs"),
        live_router.open_routers(artefacts),
    ):
        raise AssertionError


def test_what_a_deployment_does_about_a_key_that_one_lacks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A key of LiteLLM's cannot be given to Aristote."""
    _print_missing("ida", ("LiteLLM", "Aristote"))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "ida: LiteLLM does not know this key; a deployment adds it",
        "ida: Aristote does not know this key; a deployment gives ida a new one for both",
    ]
