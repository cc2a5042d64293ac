"""Two operators of one deployment, on hosts of pyinfra's ``@fake`` connector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.secrets.fingerprint import make_fingerprint
from deploy.spec import SecretName, SecretText
from tests.fake_host import ENGINE, Responses, converged, fresh
from tests.recognisable import SECRETS
from tests.test_pyinfra import Site, atelier

RUN = {"who": "alice@laptop", "process": 12, "doing": "pyinfra lab.py deploy.py", "reason": "why"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def lock(kind: str, state: str) -> Responses:
    record = {"state": state, "pid": 7, "since": 900.5, "until": None, "run": RUN}
    data = {"lock": kind, "now": 100000.5, "record": record}
    return {"atelier hold": [json.dumps(data, separators=(",", ":"))]}


def results(stdout: str) -> list[dict[str, Any]]:
    return list(json.loads(stdout)["results"]["operations"])


def test_a_run_that_would_change_something_ends_where_another_one_is_at_work(site: Site) -> None:
    site.keep_secrets()
    site.declare()
    site.answer(lock("held", "held") | fresh() | lock("held", "held"))
    # looking is allowed
    dry = site.run("--dry", "--json")
    assert dry.returncode == 0
    result = site.execute("-vv")
    assert result.returncode == 1
    assert "another run is changing deployment 'demo' there: alice@laptop (process 12)" in (
        result.stderr
    )
    assert "reason: why" in result.stderr
    assert "fix: wait until it has ended, see: atelier lock status INVENTORY" in result.stderr
    assert "Traceback" not in result.stderr
    # the first operation that would change something is the last that began
    begun = [line for line in result.stderr.splitlines() if "Starting operation" in line]
    assert "Keep generated secrets" in begun[-1]
    assert "mkdir -p /var/lib/atelier" not in result.stderr


def test_a_run_that_changes_nothing_takes_no_lock(site: Site) -> None:
    """It would end here."""
    site.keep_secrets()
    found = converged(site.declare())
    site.answer(found | lock("held", "held"))
    result = site.execute("--json")
    assert result.returncode == 0, result.stderr
    assert not any(row["success"] for row in results(result.stdout))


def test_after_a_run_that_was_killed_the_next_goes_on(site: Site) -> None:
    site.keep_secrets()
    site.declare()
    site.answer(fresh() | lock("taken", "cut"))
    result = site.execute("--json")
    assert result.returncode == 0, result.stderr
    # once, however many operations change something
    assert result.stderr.count("the last run here was killed or lost its connection: alice") == 1
    assert any(row["success"] for row in results(result.stdout))


# a clone without the file of secrets


def deployed_by_another(site: Site) -> Artefacts:
    """Everything runs, and this machine has lost the secrets, or never had them."""
    site.keep_secrets()
    artefacts = site.declare()
    (site.directory / ".secrets/demo.yaml").unlink()
    return artefacts


@pytest.mark.parametrize("flags", [("--dry", "--json"), ("-y",)])
def test_a_clone_without_secrets_is_refused(site: Site, flags: tuple[str, ...]) -> None:
    artefacts = deployed_by_another(site)
    site.answer(converged(artefacts))
    result = site.run(*flags)
    assert result.returncode == 1
    for part in (
        "deployment 'demo' runs on @fake/h1 with secrets that this machine does not have",
        f"{site.directory}/.secrets/demo.yaml does not exist, so that this machine lacks ",
        f"copy demo.yaml into {site.directory}/.secrets from the machine that deployed last",
        "--data new_secrets=yes",
    ):
        assert part in result.stderr
    started = [line for line in result.stderr.splitlines() if "Starting operation" in line]
    assert all("Check the host" in line for line in started)
    assert not (site.directory / ".secrets").joinpath("demo.yaml").exists()
    assert "Traceback" not in result.stderr


def test_a_clone_is_refused_by_hosts_from_before_there_were_fingerprints(site: Site) -> None:
    artefacts = deployed_by_another(site)
    digest = artefacts.secrets.digest(SecretText.of(SecretName.ENGINE_API_KEY))
    label = json.dumps({"name": "x", "secret_env": {"LLAMA_API_KEY": digest}})
    site.answer(converged(artefacts) | {"@engine": [*ENGINE, "@fingerprint", "@specs", label]})
    result = site.run("--dry", "--json")
    assert result.returncode == 1
    assert "with secrets that this machine does not have" in result.stderr
    # with the right ones it is told the fingerprint
    site.keep_secrets()
    result = site.run("--dry", "--json", "--diff")
    assert result.returncode == 0, result.stderr
    assert "Will create file /var/lib/atelier/deployments/demo/secrets.fingerprint" in (
        result.stderr.replace("\x1b[1m", "").replace("\x1b[0m", "")
    )


@pytest.mark.parametrize("by_variable", [False, True])
def test_an_operator_may_insist(
    site: Site, by_variable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answer(converged(deployed_by_another(site)))
    flags = [] if by_variable else ["--data", "new_secrets=yes"]
    if by_variable:
        monkeypatch.setenv("ATELIER_NEW_SECRETS", "1")
    result = site.run("--dry", "--json", "--diff", *flags)
    assert result.returncode == 0, result.stderr
    changed = [row["name"] for row in json.loads(result.stdout)["plan"] if row["hosts_with_change"]]
    assert changed == [
        *("Keep generated secrets", "Prepare routers and entry"),
        *("Run the engines", "Forget the engines' old key"),
        *("Run the routers", "Run the web UIs"),
    ]


def test_check_says_so_too(site: Site) -> None:
    site.answer(converged(deployed_by_another(site)))
    report = json.loads(atelier(site, "check", "--json", status=1))
    assert "with secrets that this machine does not have" in report["error"]


def test_one_host_that_was_deployed_with_others_stops_all(site: Site) -> None:
    """Before any host is told of the secrets of this machine."""
    site.keep_secrets()
    artefacts = site.declare()
    text = site.inventory.read_text().replace(
        'hosts=[Host(name="@fake/h1")],',
        'hosts=[Host(name="@fake/h1", address="10.0.0.1"), '
        'Host(name="@fake/h2", address="10.0.0.2")],',
    )
    site.inventory.write_text(text)
    other = make_fingerprint(artefacts.secrets).replace("hmac:", "hmac:0")
    theirs = fresh() | {"@engine": [*ENGINE, "@fingerprint", other]}
    site.answer({"@fake/h1": fresh(), "@fake/h2": theirs})
    result = site.run("-y", "-vv")
    assert result.returncode == 1
    assert "demo.yaml holds other secrets than those" in result.stderr
    assert "secrets.fingerprint.new" not in result.stderr
    assert SECRETS[SecretName.DIGEST_KEY] not in result.stderr
