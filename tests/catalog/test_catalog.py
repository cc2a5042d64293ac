"""Reading the catalogue."""

from pathlib import Path

import pytest

from deploy.catalog import Catalog, Gpu, entry, load_catalog
from deploy.errors import CatalogError


def test_it_is_read_once() -> None:
    assert load_catalog() is load_catalog()
    assert load_catalog().gpus is load_catalog().gpus


def test_files_are_read_when_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(entry, "DIRECTORY", tmp_path)
    (tmp_path / "providers.yaml").write_text("{}")
    catalog = Catalog()
    assert catalog.providers == {}


@pytest.mark.parametrize("content", ["x: [", "x: {vendor: nvidia}", "[]"])
def test_a_broken_file_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    monkeypatch.setattr(entry, "DIRECTORY", tmp_path)
    (tmp_path / "gpus.yaml").write_text(content)
    with pytest.raises(CatalogError, match=r"^catalog/gpus\.yaml: "):
        entry.load_entries("gpus.yaml", Gpu)
