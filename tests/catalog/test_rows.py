"""Models are read one by one, and are what their files say as a whole."""

from pathlib import Path

import pytest
import yaml

from deploy.catalog import load_catalog, rows
from deploy.catalog.entry import DIRECTORY, Entry
from deploy.catalog.models import Model
from deploy.catalog.rows import Rows
from deploy.errors import CatalogError


class Figure(Entry):
    """A row with one figure."""

    value: int


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a catalogue to write files into."""
    monkeypatch.setattr(rows, "DIRECTORY", tmp_path)
    return tmp_path


def test_every_model_is_what_its_file_says() -> None:
    paths = [DIRECTORY / "models.yaml", *sorted((DIRECTORY / "models").glob("*.yaml"))]
    whole = {
        name: Model.model_validate(row)
        for path in paths
        for name, row in yaml.safe_load(path.read_text()).items()
    }
    models = load_catalog().models
    assert dict(models) == whole
    assert list(models) == list(whole)
    assert len(models) == len(whole)


def test_a_row_is_read_when_it_is_asked_for(write: Path) -> None:
    (write / "a.yaml").write_text("# of old\none: {value: 1}\n\n# broken\ntwo: {value: x}\n")
    found = Rows(["a.yaml"], Figure)
    assert list(found) == ["one", "two"]
    assert found["one"] is found["one"]
    assert found["one"].value == 1
    with pytest.raises(CatalogError, match=r"^catalog/a\.yaml: (.|\n)*two\.value"):
        found["two"]
    assert found.get("three") is None


def test_a_row_may_repeat_what_another_one_says(write: Path) -> None:
    (write / "a.yaml").write_text("one:\n  value: &same 7\ntwo:\n  value: *same\n")
    assert Rows(["a.yaml"], Figure)["two"].value == 7


def test_a_name_stands_for_one_row(write: Path) -> None:
    (write / "a.yaml").write_text("one: {value: 1}\n")
    (write / "b.yaml").write_text("one: {value: 2}\n")
    with pytest.raises(CatalogError, match=r"^catalog/b\.yaml: a second row one"):
        Rows(["a.yaml", "b.yaml"], Figure)
