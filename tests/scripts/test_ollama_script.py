"""ollama.sh against an Ollama whose models are files (``ollama`` and ``docker`` beside)."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.facts.model_store import MadeModel, ModelStore, parse_models
from deploy.facts.sections import split_sections
from deploy.scripts import read_script

FAKES = Path(__file__).parent / "ollama"
MANIFEST = "registry.ollama.ai/library/tiny/latest"
MODELFILE = "FROM /models/tiny.gguf\n"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Store:
    """A home with models in it."""

    home: Path

    def run(
        self, *arguments: str, stdin: str = "", fails: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the script as the operation does."""
        environment = {
            "PATH": f"{FAKES}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "FAKE_OLLAMA_FAILS": fails,
        }
        return subprocess.run(
            ["sh", "-c", read_script("ollama.sh"), "atelier", *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def create(self, modelfile: str = MODELFILE, source: str = "one", fails: str = "") -> str:
        arguments = ["create", "c", "tiny:latest", MANIFEST, source]
        result = self.run(*arguments, stdin=modelfile, fails=fails)
        assert result.returncode == bool(fails), result
        return result.stdout

    @property
    def found(self) -> ModelStore:
        output = self.run("look", "c", "v", "i", "h").stdout
        return parse_models(split_sections(output.splitlines()))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def made_of(text: str, source: str) -> ModelStore:
    return ModelStore(
        made={"tiny:latest": MadeModel(source, sha256(text))},
        digests={MANIFEST: sha256(text)},
        loaded=frozenset(["tiny:latest"]),
    )


def test_an_empty_store(store: Store) -> None:
    assert store.found == ModelStore(loaded=frozenset(["tiny:latest"]))


def test_a_model_is_created_and_written_down(store: Store) -> None:
    assert store.create() == ""
    assert store.found == made_of(MODELFILE, "one")


def test_a_model_is_pulled_and_written_down(store: Store) -> None:
    result = store.run("pull", "c", "tiny:latest", MANIFEST, "library")
    assert (result.returncode, result.stdout) == (0, "")
    assert store.found == made_of("from the library\n", "library")


def test_another_source_replaces_it(store: Store) -> None:
    store.create()
    store.create(modelfile="FROM /models/other.gguf\n", source="two")
    assert store.found == made_of("FROM /models/other.gguf\n", "two")


@pytest.mark.parametrize("verb", ["create", "run"])
def test_what_was_there_stays_when_the_new_one_fails(store: Store, verb: str) -> None:
    """Whether it cannot be created, or not be loaded."""
    store.create()
    said = store.create(modelfile="FROM /models/broken.gguf\n", source="two", fails=verb)
    assert "what was there before still serves" in said
    assert f"    Error: {verb} failed" in said
    assert store.found == made_of(MODELFILE, "one")


def test_a_pull_that_fails_says_why_in_plain_text(store: Store) -> None:
    result = store.run("pull", "c", "tiny:latest", MANIFEST, "library", fails="pull")
    assert result.returncode == 1
    assert result.stdout == (
        "tiny:latest was not pulled:\n    pulling manifest \n    Error: pull failed\n"
    )
    assert store.found.made == {"tiny:latest": MadeModel("-", "-")}


def test_only_what_is_named_is_removed(store: Store) -> None:
    store.create()
    store.run("pull", "c", "other:1", "registry.ollama.ai/library/other/1", "library")
    assert store.run("remove", "c", "tiny:latest").returncode == 0
    assert set(store.found.made) == {"other:1"}
    assert set(store.found.digests) == {"registry.ollama.ai/library/other/1"}


def test_what_a_killed_run_left_of_a_model_goes_with_it(store: Store) -> None:
    store.create()
    left = store.home / ".ollama/models/manifests/registry.ollama.ai/library/tiny/atelier-next"
    left.write_text("FROM /models/other.gguf\n")
    assert store.run("remove", "c", "tiny:latest").returncode == 0
    assert store.found.digests == {}


def test_what_is_gone_already_is_only_struck_off(store: Store) -> None:
    store.create()
    (store.home / ".ollama/models/manifests" / MANIFEST).unlink()
    assert store.run("remove", "c", "tiny:latest").returncode == 0
    assert store.found.made == {}


def test_a_model_that_does_not_load(store: Store) -> None:
    store.create()
    result = store.run("load", "c", "tiny:latest", fails="run")
    assert result.returncode == 1
    assert result.stdout == "tiny:latest does not load:\n    Error: run failed\n"
