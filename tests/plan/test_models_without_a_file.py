"""Models of the catalogue that Atelier does not ship."""

from pathlib import Path

import pytest

from deploy.catalog import load_catalog
from deploy.errors import PlanError
from deploy.model_files import read_model_files
from deploy.plan.make_plan import make_plan
from deploy.spec import DeploymentSpec


def spec_with(model: str) -> DeploymentSpec:
    return DeploymentSpec.model_validate(
        {"name": "lab", "hosts": [{"name": "@local"}], "models": [{"name": model}]}
    )


def test_a_shipped_model_has_its_file(tmp_path: Path) -> None:
    files = read_model_files(spec_with("tiny-coder"), load_catalog(), tmp_path)
    assert files["tiny-coder"].size_bytes == 867_232


def test_another_model_of_the_catalogue_needs_one(tmp_path: Path) -> None:
    spec = spec_with("qwen2.5-coder-7b")
    files = read_model_files(spec, load_catalog(), tmp_path)
    assert files == {}
    with pytest.raises(PlanError) as error:
        make_plan(spec, load_catalog(), files)
    assert str(error.value) == (
        "models[0].name: 'qwen2.5-coder-7b' is not shipped with Atelier\n"
        "    allowed: a model with a file on this machine\n"
        "    fix: download its GGUF file and declare it with path"
    )
