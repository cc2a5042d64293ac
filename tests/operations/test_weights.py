"""Weights: what is done about them in every state that is found, and what is said before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from pyinfra.api import OperationError
from pyinfra.context import ctx_host, ctx_state

from deploy.artefacts import Artefacts
from deploy.facts.weights import (
    AllWeights,
    CachedWeights,
    HubAnswer,
    OldWeights,
    Weights,
    WeightsState,
)
from deploy.hosts.finding import Finding
from deploy.hosts.room import Need
from deploy.hosts.subject import Subject
from deploy.hub import Answer, HubFile, here
from deploy.operations import hub, old_weights, weights
from deploy.operations.hub import moved_findings, weights_findings
from deploy.operations.weights import BringCommand, CopyWeights
from deploy.services import HostWeights
from tests.conftest import MakeArtefacts
from tests.operations.harness import FakeHost, Outcome, run

NAME = "lab/coder"
COMMIT, NEWER = "c0" * 20, "d1" * 20
CONFIG = HubFile("config.json", 5, "ab" * 20)
MODEL = HubFile("model.safetensors", 15_000_000_000, "cd" * 32)
TOKEN = "hf_leaked-token"
Announced = Callable[[], list[Any]]


def listing(commit: str = COMMIT) -> str:
    lfs = {"sha256": MODEL.blob, "size": MODEL.size_bytes}
    rows = [
        {"rfilename": CONFIG.path, "size": CONFIG.size_bytes, "blobId": CONFIG.blob},
        {"rfilename": MODEL.path, "size": 135, "blobId": "ef" * 20, "lfs": lfs},
        {"rfilename": "coder.gguf", "size": 9, "blobId": "ef" * 20},
    ]
    return json.dumps({"sha": commit, "siblings": rows})


ABSENT = WeightsState()
THERE = WeightsState(
    commit=COMMIT,
    files=(CONFIG, MODEL),
    sizes={CONFIG.path: CONFIG.size_bytes, MODEL.path: MODEL.size_bytes},
    ref=COMMIT,
    blobs={CONFIG.blob: CONFIG.size_bytes, MODEL.blob: MODEL.size_bytes},
    revisions=("main",),
)


@dataclass
class HubHost(FakeHost):
    """A host that the hub answers."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def get_fact(self, fact: Any, **arguments: Any) -> Any:
        if fact is HubAnswer:
            self.asked.append(arguments)
            return self.answers.pop(0)
        return super().get_fact(fact, **arguments)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    hub.forget()
    yield
    hub.forget()


@pytest.fixture
def gpu(make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Artefacts]:
    monkeypatch.setenv("LAB_TOKEN", TOKEN)

    def _gpu(repository: str = NAME, hang_seconds: int | None = None, **of_host: Any) -> Artefacts:
        environment = {"HTTPS_PROXY": "http://proxy.lab:3128", "X": "1"}
        return make(
            hosts=[{"name": "gpu1", "gpus": "1x l40s"} | of_host],
            engine={"kind": "vllm", "env": environment, "hang_seconds": hang_seconds},
            models=[{"name": "qwen2.5-coder-0.5b", "weights": repository}],
            secrets={"huggingface_token": {"env": "LAB_TOKEN"}},
        )

    return _gpu


def subject(artefacts: Artefacts) -> Subject:
    return Subject(artefacts.host("gpu1"), artefacts.stack.on("gpu1"))


def wanted(artefacts: Artefacts) -> HostWeights:
    [only] = subject(artefacts).weights
    return only


def host(state: WeightsState, *answers: Answer, revision: str = "main") -> HubHost:
    return HubHost({Weights: {(NAME, revision): state}}, answers=list(answers))


GOOD = (Answer(200, body=listing()), Answer(302))


def provide(artefacts: Artefacts, on: HubHost) -> Outcome:
    only = wanted(artefacts)
    return run(weights.present, on, weights=only, on_host=(only,), secrets=artefacts.secrets)


def test_weights_that_are_there_cost_nothing(gpu: Any, announced: Announced) -> None:
    outcome = provide(gpu(), host(THERE))
    assert (outcome.commands, announced()) == ([], [])
    assert outcome.host.noops == ["weights lab/coder@main are there"]


def test_missing_weights_are_fetched_by_the_host(gpu: Any, announced: Announced) -> None:
    artefacts = gpu()
    on = host(ABSENT, *GOOD)
    outcome = provide(artefacts, on)
    [command] = outcome.commands
    assert isinstance(command, BringCommand)
    [change] = announced()
    assert (change["action"], change["resource"]) == ("download", "weights lab/coder")
    assert [(row["old"], row["new"]) for row in change["fields"]] == [
        ("(none)", "main (c0c0c0c0c0c0)"),
        ("0 MB", "15000 MB"),
    ]
    job = json.loads(outcome.stdin[0])
    assert job["token"] == TOKEN
    assert job["environment"] == {"HTTPS_PROXY": "http://proxy.lab:3128"}
    assert [row["path"] for row in job["files"]] == ["config.json", "model.safetensors"]
    assert job["record"] == "/weights/atelier/lab--coder/main"
    assert TOKEN not in outcome.shown
    assert [row["method"] for row in on.asked] == ["GET", "HEAD"]
    stdin = on.asked[0]["_stdin"]
    assert list(stdin) == [TOKEN, "HTTPS_PROXY=http://proxy.lab:3128"]
    assert TOKEN not in f"{stdin} {stdin!r}"
    assert TOKEN not in on.asked[0]["url"]


def test_weights_are_copied_to_a_host_with_no_way_out(
    gpu: Any, announced: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = list(GOOD)
    monkeypatch.setattr(here, "ask", lambda *_: said.pop(0))
    part = replace(ABSENT, blobs={CONFIG.blob: 5, f"{MODEL.blob}.part": 7_000_000_000})
    outcome = provide(gpu(weights="copy"), host(part))
    kinds = [type(command) for command in outcome.commands]
    assert kinds == [CopyWeights, BringCommand]
    assert json.loads(outcome.stdin[0])["token"] == ""
    [change] = announced()
    assert (change["action"], change["fields"][1]["old"]) == ("copy", "7000 MB")
    assert TOKEN not in outcome.shown


def test_a_broken_cache_is_repaired_with_the_same_commit(gpu: Any, announced: Announced) -> None:
    broken = replace(THERE, sizes={CONFIG.path: 5})
    on = host(broken, *GOOD)
    provide(gpu(), on)
    assert on.asked[0]["url"].endswith(f"/revision/{COMMIT}?blobs=true")
    assert announced()[0]["fields"][0]["old"] == "incomplete"


def test_another_revision_is_drift(gpu: Any, announced: Announced) -> None:
    older = WeightsState(blobs=THERE.blobs, revisions=("main",))
    provide(gpu("lab/coder@v2"), host(older, *GOOD, revision="v2"))
    assert announced()[0]["fields"] == [
        {"field": "revision", "old": "main", "new": "v2 (c0c0c0c0c0c0)"},
        {"field": "size", "old": "15000 MB", "new": "15000 MB"},
    ]


def test_what_another_host_has_is_what_a_branch_stands_for(gpu: Any) -> None:
    artefacts = gpu()
    endpoint = wanted(artefacts).endpoint
    hub.remember_commits([{(endpoint, NAME, "main"): COMMIT}, {}])
    on = host(ABSENT, *GOOD)
    provide(artefacts, on)
    assert on.asked[0]["url"].endswith(f"/revision/{COMMIT}?blobs=true")


def test_hosts_that_come_together_get_the_same_commit(gpu: Any) -> None:
    artefacts = gpu()
    provide(artefacts, host(ABSENT, *GOOD))
    second = host(ABSENT, *GOOD)
    provide(artefacts, second)
    assert second.asked[0]["url"].endswith(f"/revision/{COMMIT}?blobs=true")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([Answer(404, {"x-error-code": "RevisionNotFound"})], "has no revision 'main'"),
        ([Answer(200, body=listing()), Answer(401, {"x-error-code": "GatedRepo"})], "let in"),
        ([Answer(200, body="<html>please log in</html>")], "not as Hugging Face does"),
        ([Answer(failure="Could not resolve host")], "does not answer the host"),
        ([Answer(429, {"retry-after": "3600"})], "wants 3600 s without any"),
        (
            [Answer(200, body=json.dumps({"sha": COMMIT, "siblings": []}))],
            "has no weights that vLLM or SGLang loads",
        ),
    ],
)
def test_what_cannot_be_fetched_is_refused(
    gpu: Any, answers: list[Answer], message: str, announced: Announced
) -> None:
    artefacts = gpu()
    with pytest.raises(OperationError, match=message):
        provide(artefacts, host(ABSENT, *answers))
    assert announced() == []
    found = _findings(artefacts, host(ABSENT, *answers))
    assert [(finding.status, message in finding.found) for finding in found] == [("problem", True)]


def test_a_hub_that_limits_requests_is_asked_again(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    on = host(ABSENT, Answer(429, {"retry-after": "7"}), *GOOD)
    assert len(provide(gpu(), on).commands) == 1
    assert waited == [7]


def test_a_host_that_cannot_ask_lets_this_machine_ask(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = list(GOOD)
    monkeypatch.setattr(here, "ask", lambda *_: said.pop(0))
    on = host(ABSENT, Answer(failure="neither curl nor python3 is there to ask with"))
    assert len(provide(gpu(), on).commands) == 1
    assert said == []


# the check of the host


def _with_host(on: HubHost, ask: Callable[[], Any]) -> Any:
    state = SimpleNamespace(config=SimpleNamespace(DIFF=True), is_executing=False, inventory=[on])
    with ctx_state.use(state), ctx_host.use(on):
        return ask()


def _findings(artefacts: Artefacts, on: HubHost) -> list[Finding]:
    every = _with_host(on, lambda: list(weights_findings(subject(artefacts), artefacts.secrets)))
    return [each for each in every if isinstance(each, Finding)]


def test_what_is_to_come_is_said_and_needs_room(gpu: Any) -> None:
    artefacts = gpu()
    half = WeightsState(blobs={f"{MODEL.blob}.part": 5_000_000_000})
    finding, need = _with_host(
        host(half, *GOOD), lambda: list(weights_findings(subject(artefacts), artefacts.secrets))
    )
    assert finding.found == "lab/coder@main is c0c0c0c0c0c0: 10000 MB to download"
    assert need == Need("weights of lab/coder", "directory", 10_000_000_005)


def test_this_machine_needs_room_for_what_it_copies(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def findings(free: int) -> list[str]:
        said = list(GOOD)
        monkeypatch.setattr(here, "ask", lambda *_: said.pop(0))
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
        return [each.found for each in _findings(gpu(weights="copy"), host(ABSENT))]

    assert len(findings(10**12)) == 1
    assert findings(10**9)[1] == "this machine fetches 15000 MB for the host, and has 1000 MB"


def test_nothing_is_asked_about_what_is_there(gpu: Any) -> None:
    on = host(THERE)
    assert _findings(gpu(), on) == []
    assert on.asked == []


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (Answer(200, body=listing()), "ok", "the newest"),
        (Answer(200, body=listing(NEWER)), "warning", "the hub has d1d1d1d1d1d1 by now"),
        (Answer(failure="timed out"), "ok", "whether it moved on is not known"),
    ],
)
def test_doctor_tells_of_a_branch_that_moved(
    gpu: Any, answer: Answer, status: str, text: str
) -> None:
    artefacts = gpu()
    [finding] = _with_host(
        host(THERE, answer),
        lambda: list(moved_findings(subject(artefacts).weights, artefacts.secrets)),
    )
    assert (finding.status, text in finding.found) == (status, True)
    assert (NEWER in finding.fix) == (status == "warning")


# what goes

OLD = OldWeights(NAME, "main", COMMIT, (CONFIG, MODEL))
NEW = OldWeights(NAME, "v2", NEWER, (replace(CONFIG, blob="12" * 20), MODEL))
CACHE = "/var/lib/atelier/models/huggingface"


def prune(wanted: list[tuple[str, str]], *commands: tuple[str, ...]) -> Outcome:
    found = CachedWeights((OLD, NEW), commands)
    return run(old_weights.removed, {AllWeights: found}, cache=CACHE, wanted=wanted)


def test_a_revision_that_nothing_names_goes(announced: Announced) -> None:
    outcome = prune([(NAME, "v2")], (NAME, "--revision", "v2", "--port", "8000"), ())
    [shell] = outcome.shell
    assert shell.endswith(f"remove {CACHE} lab/coder main {COMMIT}")
    [change] = announced()
    assert change["resource"] == "weights lab/coder@main (c0c0c0c0c0c0)"
    # the large file is the other revision's, too
    assert change["fields"][0]["old"] == "0 MB"


@pytest.mark.parametrize("hang_seconds", [45, 0])
def test_what_a_replica_loads_is_read_from_its_container(hang_seconds: int, gpu: Any) -> None:
    """With what watches over it, and without."""
    made = gpu("lab/coder@v2", hang_seconds)
    [command] = [
        each.container.command for each in made.stack.on("gpu1") if "vllm" in each.container.name
    ]
    assert NAME in command
    [shell] = prune([], tuple(map(str, command))).shell
    assert shell.endswith(f"remove {CACHE} lab/coder main {COMMIT}")


@pytest.mark.parametrize(
    "command",
    [
        (NAME, "--port", "8000"),
        (NAME, "--revision", "main"),
        ("lab/other", "--revision", "x", "--speculative-config", '{"model": "lab/coder"}'),
    ],
    ids=str,
)
def test_what_a_container_may_load_stays(command: tuple[str, ...]) -> None:
    """Of any deployment, and whether or not it runs."""
    assert prune([(NAME, "v2")], command).commands == []


def test_what_is_wanted_stays_though_no_container_names_it() -> None:
    assert prune([(NAME, "v2"), (NAME, "main")]).commands == []
