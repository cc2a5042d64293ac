"""The ``atelier`` command: what each verb prints, and its exit status."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from deploy.cli import main as command
from deploy.cli import output, pyinfra_run
from deploy.cli.pyinfra_run import Run, run_pyinfra
from deploy.errors import HostError, Problem
from deploy.live.checks import Check
from tests.conftest import MakeArtefacts
from tests.live.fake_engine import running, use
from tests.recognisable import LEAK, SECRETS, write_secrets

INVENTORY = """
from deploy import Deployment, Host, Model, pyinfra_hosts
deployment = Deployment(name="demo", hosts=[Host(name="@local")], models=[Model(name="tiny-coder")])
hosts = pyinfra_hosts(deployment, __file__)
"""
VERBS = ["check", "verify", "status", "logs", "env", "down", "schema"]
ROUTER_CHANGE = {
    "host": "h1",
    "stage": "prepare",
    "resource": "container demo-litellm-0",
    "action": "recreate",
    "fields": [{"field": "image", "old": "a:1", "new": "a:2"}],
}

Result = tuple[int, str, str]
Atelier = Callable[..., Result]


@pytest.fixture
def atelier(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Atelier:
    """Runs the command; gives exit status, standard output and standard error."""

    def run(*arguments: str | Path) -> Result:
        monkeypatch.setattr("sys.argv", ["atelier", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    monkeypatch.setattr(output.console, "width", 200)
    return run


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """An inventory that was deployed before: its secrets are kept."""
    path = tmp_path / "site.py"
    path.write_text(INVENTORY)
    write_secrets(tmp_path / ".secrets" / "demo.yaml")
    return path


@pytest.fixture
def pyinfra(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stands in for runs of pyinfra: a list of their results, which their arguments replace."""
    runs: list[Any] = []

    def run(_: Path, *arguments: str) -> Run:
        result = runs.pop(0)
        runs.append(arguments)
        if isinstance(result, Exception):
            raise result
        return Run(result, "")

    monkeypatch.setattr(pyinfra_run, "run_pyinfra", run)
    return runs


# help and schema


def test_help_lists_every_verb(atelier: Atelier) -> None:
    status, out, _ = atelier("--help")
    assert status == 0
    assert all(f" {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(atelier: Atelier, verb: str) -> None:
    status, out, _ = atelier(verb, "--help")
    assert status == 0
    assert f"atelier {verb}" in out
    assert ("--json" in out) is (verb in {"check", "verify", "status", "env"})


def test_schema(atelier: Atelier) -> None:
    status, out, _ = atelier("schema")
    assert status == 0
    assert json.loads(out)["required"] == ["name", "hosts", "models"]


# errors


def test_a_mistake_is_explained(atelier: Atelier, tmp_path: Path) -> None:
    status, out, err = atelier("status", tmp_path / "no.py")
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert "no.py: no such file" in err


def test_a_mistake_is_explained_to_programs(atelier: Atelier, inventory: Path) -> None:
    inventory.write_text(INVENTORY.replace("models=", "modles="))
    status, out, err = atelier("status", inventory, "--json")
    assert (status, err) == (1, "")
    report = json.loads(out)
    assert report["error"].startswith("models: not set")
    assert report["problems"][1]["path"] == "modles"
    assert report["problems"][1]["fix"] == "did you mean 'models'?"


def test_square_brackets_are_not_markup(atelier: Atelier, inventory: Path) -> None:
    inventory.write_text(INVENTORY.replace("tiny-coder", "tiny-codr"))
    _, _, err = atelier("status", inventory)
    assert "models[0].name: 'tiny-codr'" in err


@pytest.mark.parametrize("arguments", [["plan"], ["nonsense"], ["status", "x", "--nonsense"]])
def test_wrong_usage(atelier: Atelier, arguments: list[str]) -> None:
    status, _, err = atelier(*arguments)
    assert status == 2
    assert err.startswith("error: ")


# check


def test_check_with_nothing_to_do(atelier: Atelier, inventory: Path, pyinfra: list[Any]) -> None:
    pyinfra.append([])
    status, out, _ = atelier("check", inventory)
    assert (status, out) == (0, "nothing to do: what runs is what is declared\n")
    assert pyinfra == [("deploy.py", "--dry", "--json")]


def test_check_with_changes(atelier: Atelier, inventory: Path, pyinfra: list[Any]) -> None:
    pyinfra.append([ROUTER_CHANGE])
    status, out, _ = atelier("check", inventory)
    assert status == 2
    assert all(word in out for word in ("demo-litellm-0", "recreate", "image: a:1 -> a:2"))


def test_check_as_json(atelier: Atelier, inventory: Path, pyinfra: list[Any]) -> None:
    pyinfra.append([ROUTER_CHANGE])
    status, out, _ = atelier("check", inventory, "--json")
    assert status == 2
    change = {name: value for name, value in ROUTER_CHANGE.items() if name != "stage"}
    assert json.loads(out) == {"pending": 1, "changes": [change]}


def test_check_that_fails(atelier: Atelier, inventory: Path, pyinfra: list[Any]) -> None:
    pyinfra.append(HostError(Problem("pyinfra site.py", "no route to host")))
    status, out, _ = atelier("check", inventory, "--json")
    assert status == 1
    assert json.loads(out)["error"] == "pyinfra site.py: no route to host"


def test_a_run_of_pyinfra_reads_the_announced_changes(
    inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(arguments: list[str], env: dict[str, str], **_: Any) -> Any:
        assert arguments[2:] == ["pyinfra", str(inventory), "deploy.py", "--dry"]
        Path(env["ATELIER_CHANGES_FILE"]).write_text('{"action": "pull"}\n{"action": "create"}\n')
        return subprocess.CompletedProcess(arguments, 0, "{}", "--> Loading config...")

    monkeypatch.setattr(subprocess, "run", run)
    changes = run_pyinfra(inventory, "deploy.py", "--dry").changes
    assert changes == [{"action": "pull"}, {"action": "create"}]


@pytest.mark.parametrize(("is_there", "stdin"), [(True, None), (False, subprocess.DEVNULL)])
def test_pyinfra_asks_for_a_password_where_there_is_a_terminal(
    inventory: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool, stdin: int | None
) -> None:
    given: list[Any] = []

    def run(arguments: list[str], **options: Any) -> Any:
        given.append(options["stdin"])
        return subprocess.CompletedProcess(arguments, 0, "{}", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: is_there))
    run_pyinfra(inventory, "deploy.py", "--dry")
    assert given == [stdin]


def test_a_failed_run_of_pyinfra_is_reported_without_its_progress(
    inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = (
        "--> Loading config...\n\n--> Connecting to hosts...\n    [h1] Connected\n"
        "    Loading: deploy.py\n    [h1] port 4000 is in use\n\n--> Disconnecting from hosts...\n"
    )
    result = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: result)
    with pytest.raises(HostError) as failed:
        run_pyinfra(inventory, "deploy.py")
    assert str(failed.value) == f"pyinfra {inventory}: [h1] port 4000 is in use"


@pytest.mark.parametrize("verb", ["check", "doctor", "down", "prune"])
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nowhere.py", "", "nowhere.py: no such file"),
        ("none.py", "x = 1\n", "none.py: 0 deployments"),
        (
            "lab.yaml",
            'name: demo\nhosts: [{name: "@local"}]\nmodels: [{name: tiny-coder}]\n',
            "lab.yaml: an inventory in YAML, which pyinfra does not read",
        ),
    ],
)
def test_an_inventory_without_hosts_is_not_all_well(
    atelier: Atelier, tmp_path: Path, verb: str, name: str, text: str, message: str
) -> None:
    inventory = tmp_path / name
    if text:
        inventory.write_text(text)
    status, out, err = atelier(verb, inventory)
    assert (status, out) == (1, "")
    assert f"{tmp_path}/{message}" in err


def test_what_an_inventory_prints_is_no_part_of_the_answer(
    atelier: Atelier, inventory: Path
) -> None:
    inventory.write_text(f"print('read')\n{INVENTORY}")
    status, out, err = atelier("plan", inventory, "--json")
    assert (status, err) == (0, "read\n")
    assert json.loads(out)["name"] == "demo"


# down


BELONGING = {**ROUTER_CHANGE, "action": "remove"}


def test_down_where_nothing_is(atelier: Atelier, inventory: Path, pyinfra: list[Any]) -> None:
    pyinfra.append([])
    status, out, _ = atelier("down", inventory)
    assert (status, out) == (0, "Nothing to remove.\n")


def test_down_says_what_and_does_it(atelier: Atelier, inventory: Path, pyinfra: list[Any]) -> None:
    pyinfra += [[BELONGING], []]
    status, out, _ = atelier("down", inventory, "--yes", "--volumes")
    assert status == 0
    assert out == "  h1: remove container demo-litellm-0\nremoved 1\n"
    task = ("deploy.tasks.down.remove", "volumes=True")
    assert pyinfra == [(*task, "--dry", "--json"), (*task, "-y")]


def test_down_on_one_host_alone(atelier: Atelier, inventory: Path, pyinfra: list[Any]) -> None:
    pyinfra += [[BELONGING], []]
    status, _, _ = atelier("down", inventory, "--yes", "--host", "@local")
    assert status == 0
    assert [run[2:4] for run in pyinfra] == [("--limit", "@local")] * 2
    status, _, err = atelier("down", inventory, "--yes", "--host", "gpu2")
    assert status == 1
    assert "--host: 'gpu2' is not in the inventory\n    allowed: @local" in err


def test_down_asks_first(
    atelier: Atelier, inventory: Path, pyinfra: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.confirm", _decline)
    pyinfra.append([BELONGING])
    status, _, _ = atelier("down", inventory)
    assert status != 0
    assert pyinfra == [("deploy.tasks.down.remove", "volumes=False", "--dry", "--json")]


def _decline(*_: Any, abort: bool) -> None:
    assert abort
    raise typer.Abort


def test_prune_that_fails_is_one_object_with_json(
    atelier: Atelier, inventory: Path, pyinfra: list[Any]
) -> None:
    old = {"host": "h1", "resource": "image old", "action": "remove", "fields": [{"old": "2 GB"}]}
    pyinfra += [[old], HostError(Problem("pyinfra site.py", "no route to host"))]
    status, out, _ = atelier("prune", inventory, "--json", "--yes")
    assert status == 1
    assert json.loads(out)["error"] == "pyinfra site.py: no route to host"
    pyinfra[:] = [[old], []]
    status, out, _ = atelier("prune", inventory, "--json", "--yes")
    assert (status, json.loads(out)["images"][0]["reference"]) == (0, "old")


# status, verify and logs


def test_status_as_json(
    atelier: Atelier, inventory: Path, make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(running(make(profile=None)), monkeypatch, "deploy.live.status")
    status, out, _ = atelier("status", inventory, "--json")
    report = json.loads(out)
    assert status == 0
    assert report["ok"] is True
    router = report["services"][1]
    assert set(router) == {
        "service",
        "host",
        "image",
        "state",
        "health",
        "drift",
        "url",
        "uptime_seconds",
        "memory_bytes",
        "memory_limit_bytes",
        "restarts",
        "certificate_days",
        "certificate_renews_itself",
        "certificate_problem",
        "health_said",
        "hangs",
    }
    assert router["hangs"] is None
    never = {"count": 0, "exit_status": None, "out_of_memory": False}
    assert router["restarts"] == never
    assert router["certificate_days"] is None
    assert (router["service"], router["drift"]) == ("demo-litellm-0", [])
    assert LEAK not in out


def test_status_as_a_table(
    atelier: Atelier, inventory: Path, make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = running(make(profile=None))
    engine.running["demo-litellm-0"].attrs["HostConfig"]["Memory"] = 512 * 1024**2
    del engine.running["demo-open-webui-0"]
    use(engine, monkeypatch, "deploy.live.status")
    status, out, _ = atelier("status", inventory)
    assert status == 1
    for text in (
        "running, healthy",
        "http://127.0.0.1:4000",
        "300 / 512 MiB",
        "drift: live memory_bytes",
        "absent",
    ):
        assert text in out


def checks(*oks: bool) -> Callable[..., list[Check]]:
    return lambda *_, **__: [
        Check(f"check {i}", "h1", ok, 0.5, "said [x]") for i, ok in enumerate(oks)
    ]


@pytest.mark.parametrize(("oks", "status"), [((True, True), 0), ((True, False), 1)])
def test_verify(
    atelier: Atelier,
    inventory: Path,
    monkeypatch: pytest.MonkeyPatch,
    oks: tuple[bool, ...],
    status: int,
) -> None:
    monkeypatch.setattr("deploy.live.verify.verify", checks(*oks))
    found, out, _ = atelier("verify", inventory, "--json")
    assert found == status
    report = json.loads(out)
    assert report["ok"] is all(oks)
    check = {"name": "check 0", "host": "h1", "ok": True, "seconds": 0.5, "detail": "said [x]"}
    assert report["checks"][0] == check | {"warning": ""}
    found, out, _ = atelier("verify", inventory)
    assert found == status
    assert out.splitlines()[0] == "ok       0.50 s  check 0 on h1: said [x]"


def test_logs(
    atelier: Atelier, inventory: Path, make: MakeArtefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = running(make())
    engine.running["demo-litellm-0"].log = b"one\nkey sk-leaked-router-master\n"
    use(engine, monkeypatch, "deploy.live.logs")
    status, out, _ = atelier("logs", inventory, "litellm", "--tail", "1")
    assert (status, out) == (0, "key <router_master_key>\n")
    status, _, err = atelier("logs", inventory, "demo")
    assert status == 1
    assert "service: 'demo' is in demo-llama-cpp-tiny-coder-0, demo-litellm-0" in err


# env


def test_env_can_be_evaluated(atelier: Atelier, inventory: Path, tmp_path: Path) -> None:
    awkward = "sk-it's $HOME; `touch x`"
    (tmp_path / "key").write_text(awkward)
    inventory.write_text(
        INVENTORY.replace(
            'name="demo",', "name='demo', secrets={'router_master_key': {'file': 'key'}},"
        )
    )
    status, out, _ = atelier("env", inventory)
    assert status == 0
    script = out + 'printf "%s\\n" "$OPENAI_BASE_URL" "$OPENAI_API_KEY"'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert said.stdout.splitlines() == ["http://127.0.0.1:4000/v1", awkward]
    assert not (tmp_path / "x").exists()


def test_env_as_json(atelier: Atelier, inventory: Path) -> None:
    status, out, _ = atelier("env", inventory, "--json")
    assert status == 0
    assert json.loads(out) == {
        "OPENAI_BASE_URL": "http://127.0.0.1:4000/v1",
        "OPENAI_API_KEY": next(iter(SECRETS.values())),
    }


@pytest.mark.parametrize("verb", ["env", "verify"])
def test_secrets_that_nobody_was_given_are_not_used(
    atelier: Atelier, inventory: Path, verb: str
) -> None:
    (inventory.parent / ".secrets" / "demo.yaml").unlink()
    status, out, err = atelier(verb, inventory)
    assert (status, out) == (1, "")
    assert "deploy first: pyinfra INVENTORY deploy.py" in err
