"""What the catalogue says is complete, and the file it carries is the one it describes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.catalog import Catalog, Model, profile_names, with_profile
from deploy.catalog.entry import load_entries
from deploy.errors import CatalogError
from tests.conftest import declare


def test_every_image_is_pinned_and_sourced(catalog: Catalog) -> None:
    for name, image in catalog.images.items():
        _, _, version = image.reference.rpartition(":")
        assert version != "latest", name
        assert any(character.isdigit() for character in version), name
        assert image.source.startswith("https://"), name
        assert image.licence, name
        assert image.build is None or image.build.base in catalog.bases, name


def test_models_are_the_files_they_say(catalog: Catalog) -> None:
    shipped = [model for model in catalog.models.values() if model.path]
    assert shipped
    for model in shipped:
        assert model.path is not None
        content = model.path.read_bytes()
        assert content[:4] == b"GGUF"
        assert hashlib.sha256(content).hexdigest() == model.sha256


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_a_valid_deployment(name: str) -> None:
    assert declare(profile=name).profile == name


def test_without_a_profile_nothing_is_filled_in() -> None:
    assert with_profile({"name": "demo"}) == {"name": "demo"}


def test_a_profile_is_merged_setting_by_setting() -> None:
    merged = with_profile({"profile": "individual", "engine": {"threads": 2}, "users": 1})
    assert merged["engine"] == {"kind": "llama_cpp", "max_num_seqs": 2, "threads": 2}
    assert merged["users"] == 1


@pytest.mark.parametrize("text", ["tiny: {file: x}", "- a", "a: [", "a: {unknown: 1}"])
def test_a_broken_catalogue_file_is_named(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models.yaml").write_text(text)
    monkeypatch.setattr("deploy.catalog.entry.DIRECTORY", tmp_path)
    with pytest.raises(CatalogError, match=r"^catalog/models\.yaml: "):
        load_entries("models.yaml", Model)


def test_catalogue_files_say_nothing_twice() -> None:
    class Unique(yaml.SafeLoader):
        """Refuses repeated keys, which YAML's own loader drops silently."""

    def construct(loader: Unique, node: yaml.MappingNode) -> Any:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), keys
        return loader.construct_mapping(node, deep=True)

    Unique.add_constructor("tag:yaml.org,2002:map", construct)

    folder = Path(__file__).parent.parent.parent / "deploy" / "catalog"
    for path in folder.rglob("*.yaml"):
        yaml.load(path.read_text(), Loader=Unique)  # noqa: S506 - a safe loader
