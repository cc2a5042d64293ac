"""Models of a shared Ollama in whole runs of pyinfra, on a host of its ``@fake`` connector."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.artefacts import Artefacts, make_artefacts
from deploy.inventory import load_inventory
from deploy.services import Tier
from deploy.services.ollama_model import manifest_path
from tests.fake_host import Responses, converged, inspect_row, units_answer
from tests.test_pyinfra import INVENTORY, Site, plan

TINY, CHAT = 'Model(name="tiny-coder", roles=["completion"])', 'Model(name="qwen2.5-coder-7b")'
SHARED = 'engine=Engine(kind="ollama", shared="desk", max_model_len=2048), web_ui=None,'
ALONE = 'engine=Engine(kind="ollama", max_model_len=2048), web_ui=None,'
NAME = "demo-ollama-desk-0"
CHAT_TAG, TINY_TAG = "qwen2.5-coder:7b-instruct-q4_K_M", "tiny-coder:latest"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def declare(site: Site, engine: str, *models: str) -> Artefacts:
    text = INVENTORY.replace("import Deployment, Host", "import Deployment, Engine, Host")
    text = text.replace('Model(name="tiny-coder")', ", ".join(models)).replace("# more", engine)
    site.inventory.write_text(text)
    (site.directory / "responses.json").write_text("{}")
    site.keep_secrets()
    declared = load_inventory(site.inventory)
    return make_artefacts(declared.spec, declared.directory)


def there(artefacts: Artefacts, *left_out: str) -> Responses:
    """A host on which everything runs, with all models in their stores but some."""
    stores: list[str] = []
    for unit in artefacts.stack.tier(Tier.ENGINE):
        own = [model for model in unit.models if model.name not in left_out]
        stores += [
            *(f"@store {unit.name}", "@record"),
            *(f"{model.name} {model.source} d1" for model in own),
            "@manifests",
            *(f"d1  ./{manifest_path(model.name)}" for model in own),
            *("@loaded", "NAME ID"),
        ]
    units = artefacts.stack.units
    return converged(artefacts) | {"@directories": [*units_answer(artefacts, units), *stores]}


def told(text: str) -> list[str]:
    """What a run will do to engines and models."""
    lines = (line.partition("] Will ")[2].strip() for line in text.splitlines())
    return [line for line in lines if "ollama" in line]


def test_a_second_run_changes_nothing(site: Site) -> None:
    site.answer(there(declare(site, SHARED, TINY, CHAT)))
    result = site.execute("--json", "--diff")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["results"]["totals"]["success"] == 0
    assert "Will " not in result.stderr


def test_a_model_that_is_added_is_pulled_into_what_runs(site: Site) -> None:
    """Its weights are smaller than those of the other: the limits stay."""
    site.answer(there(declare(site, SHARED, CHAT, TINY), TINY_TAG))
    dry = site.run("--dry", "--json", "--diff")
    assert [name for name, changed in plan(dry).items() if changed] == ["Run the engines"]
    assert told(dry.stderr) == [f"create model {TINY_TAG} in {NAME}"]


def test_a_model_that_is_dropped_goes_from_what_runs(site: Site) -> None:
    answers = there(declare(site, SHARED, CHAT))
    found = answers["@directories"]
    found.insert(found.index("@record") + 1, f"{TINY_TAG} 0123-4567 d2")
    site.answer(answers)
    dry = site.run("--dry", "--json", "--diff")
    assert told(dry.stderr) == [f"remove model {TINY_TAG} in {NAME}"]


def test_models_move_from_an_ollama_each(site: Site) -> None:
    """The shared one serves before the others go, with what they had."""
    before = declare(site, ALONE, TINY, CHAT)
    gone = before.stack.tier(Tier.ENGINE)
    rows = [inspect_row(unit, before) for unit in gone]
    artefacts = declare(site, SHARED, TINY, CHAT)
    others = [unit for unit in artefacts.stack.units if unit.tier != Tier.ENGINE]
    made = [f"{unit.name} {unit.models[0].name}" for unit in gone]
    answers = converged(artefacts)
    answers["@directories"] = [*units_answer(artefacts, others, *rows), "@models", *made]
    site.answer(answers)
    dry = site.run("--dry", "--json", "--diff")
    engines, last = told(dry.stderr)[:3], told(dry.stderr)[3:]
    assert engines == [
        f"create container {NAME}",
        f"create model {TINY_TAG} in {NAME}",
        f"pull model {CHAT_TAG} in {NAME}",
    ]
    assert sorted(last) == sorted(
        [
            f"remove container {gone[0].name}",
            f"remove container {gone[1].name}",
            f"remove model {TINY_TAG} in {gone[0].name}",
            f"remove model {CHAT_TAG} in {gone[1].name}",
        ]
    )
