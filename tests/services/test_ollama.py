"""The models of Ollama: what they are created from, and which way leads to them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.artefacts import Artefacts
from deploy.catalog.entry import DIRECTORY
from deploy.services import StoredModel, Tier
from deploy.services.ollama_model import manifest_path
from tests.conftest import MakeArtefacts

FILE = DIRECTORY / "models" / "tiny-coder-q8_0.gguf"
OLLAMA = {"kind": "ollama"}
FIM = (
    "{{ if .Suffix }}<|fim_prefix|>{{ .Prompt }}<|fim_suffix|>{{ .Suffix }}<|fim_middle|>"
    "{{ else }}{{ .Prompt }}{{ end }}"
)


def stored(artefacts: Artefacts) -> StoredModel:
    [model] = artefacts.stack.tier(Tier.ENGINE)[0].models
    return model


def upstream(artefacts: Artefacts) -> dict[str, Any]:
    (router,) = artefacts.stack.tier(Tier.ROUTER)
    assert router.config is not None
    config = yaml.safe_load(str(router.config.files["config.yaml"].content))
    found: dict[str, Any] = config["model_list"][0]["litellm_params"]
    return found


def template(model: StoredModel) -> str | None:
    found = re.search(r'TEMPLATE """(.*)"""', model.modelfile)
    return found[1] if found else None


def test_a_model_of_the_library_is_pulled(make: MakeArtefacts) -> None:
    artefacts = make(engine=OLLAMA, models=[{"name": "qwen2.5-coder-7b", "roles": ["chat"]}])
    model = stored(artefacts)
    assert (model.name, model.modelfile) == ("qwen2.5-coder:7b-instruct-q4_K_M", "")
    assert upstream(artefacts) == {
        "model": "ollama_chat/qwen2.5-coder:7b-instruct-q4_K_M",
        "api_base": "http://demo-ollama-qwen2.5-coder-7b-0:11434",
        "stream_timeout": 300,
    }


def test_a_model_that_completes_is_reached_through_the_openai_api(make: MakeArtefacts) -> None:
    """LiteLLM would make a chat of it otherwise."""
    models = [{"name": "tiny-coder", "roles": ["completion"]}]
    assert upstream(make(engine=OLLAMA, models=models)) == {
        "model": "openai/tiny-coder:latest",
        "api_base": "http://demo-ollama-tiny-coder-0:11434/v1",
        "stream_timeout": 300,
        "api_key": "none",
    }


@pytest.mark.parametrize(
    ("name", "roles", "expected"),
    [
        ("own", ["chat"], None),
        ("own", ["completion"], "{{ .Prompt }}"),
        # the catalogue knows the tokens of these
        ("tiny-coder", ["completion"], FIM),
        (
            "codestral-22b",
            ["completion"],
            "{{ if .Suffix }}[SUFFIX]{{ .Suffix }}[PREFIX]{{ .Prompt }}"
            "{{ else }}{{ .Prompt }}{{ end }}",
        ),
    ],
)
def test_the_template_of_a_file(
    make: MakeArtefacts, name: str, roles: list[str], expected: str | None
) -> None:
    models = [{"name": name, "path": str(FILE), "roles": roles}]
    model = stored(make(engine=OLLAMA, models=models, use="research"))
    assert model.modelfile.startswith("FROM /models/tiny-coder-q8_0.gguf\n")
    assert template(model) == expected


def test_a_file_for_both_chats_and_the_plan_says_so(make: MakeArtefacts) -> None:
    artefacts = make(engine=OLLAMA)
    assert template(stored(artefacts)) is None
    assert upstream(artefacts)["model"] == "ollama_chat/tiny-coder:latest"
    (warning,) = [text for text in artefacts.plan.warnings if "Ollama" in text]
    assert "declare roles=['completion']" in warning


def test_the_source_changes_with_the_file_and_with_the_template(
    make: MakeArtefacts, tmp_path: Path
) -> None:
    other = tmp_path / FILE.name
    other.write_bytes(FILE.read_bytes() + b" ")
    sources = {
        stored(
            make(engine=OLLAMA, models=[{"name": "own", "path": str(path), "roles": [role]}])
        ).source
        for path in (FILE, other)
        for role in ("chat", "completion")
    }
    assert len(sources) == 4


@pytest.mark.parametrize(("keep_alive", "resident"), [("-1", True), ("30m", False), ("0", False)])
def test_a_model_stays_loaded_as_declared(
    make: MakeArtefacts, keep_alive: str, resident: bool
) -> None:
    artefacts = make(engine=OLLAMA | {"keep_alive": keep_alive})
    container = artefacts.stack.tier(Tier.ENGINE)[0].container
    assert container.env["OLLAMA_KEEP_ALIVE"] == keep_alive
    assert stored(artefacts).resident is resident


@pytest.mark.parametrize("source", ["pull", "build"])
def test_either_image_keeps_its_models_in_the_volume(make: MakeArtefacts, source: str) -> None:
    """Upstream's runs as root and ours does not; both have the same home."""
    artefacts = make(engine=OLLAMA, image_source=source)
    engine = artefacts.stack.tier(Tier.ENGINE)[0]
    volumes = {str(p): m.source for p, m in engine.container.mounts.items() if m.kind == "volume"}
    assert volumes == {"/var/lib/ollama": "demo-ollama-tiny-coder-0"}
    assert engine.container.env["HOME"] == "/var/lib/ollama"
    assert engine.container.read_only is (source == "build")
    assert engine.container.ports == ()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("tiny-coder:latest", "registry.ollama.ai/library/tiny-coder/latest"),
        ("me/coder:7b", "registry.ollama.ai/me/coder/7b"),
        ("hf.co/org/Coder-GGUF:Q4_K_M", "hf.co/org/Coder-GGUF/Q4_K_M"),
    ],
)
def test_manifests(name: str, path: str) -> None:
    assert manifest_path(name) == path
