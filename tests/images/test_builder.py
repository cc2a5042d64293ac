"""Builds against a container engine that only pretends (the ``bin`` beside)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from deploy.catalog import Catalog
from deploy.errors import ImageBuildError
from deploy.images import ImageBuildPlan, build_images, make_build_plan

BIN = Path(__file__).parent / "bin"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    monkeypatch.setenv("FAKE_IMAGES", str(folder))
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_CONTENT_TRUST", "1")
    # locks of its own: somebody may build the real images meanwhile
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return folder


@pytest.fixture
def plans(catalog: Catalog) -> list[ImageBuildPlan]:
    return [make_build_plan(name, catalog) for name, image in catalog.images.items() if image.build]


def calls(engine: Path, verb: str) -> list[str]:
    return [line for line in (engine / "log").read_text().splitlines() if line.startswith(verb)]


def test_bases_are_built_once_and_before_their_images(
    engine: Path, plans: list[ImageBuildPlan]
) -> None:
    said: list[str] = []
    build_images(plans, said.append)
    assert 1 < len(calls(engine, "mmdebstrap")) == len({plan.base.tag for plan in plans})
    tags = {line.split()[4] for line in calls(engine, "docker image build")}
    assert tags == {plan.tag for plan in plans}
    assert "litellm: step 3/9" in said
    assert any(line.startswith("litellm: done in ") for line in said)


def test_nothing_is_built_twice(engine: Path, plans: list[ImageBuildPlan]) -> None:
    build_images(plans, lambda _: None)
    (engine / "log").write_text("")
    said: list[str] = []
    build_images(plans, said.append)
    assert said == []
    assert calls(engine, "mmdebstrap") == calls(engine, "docker image build") == []


def test_a_base_is_made_of_its_packages(engine: Path, catalog: Catalog) -> None:
    build_images([make_build_plan("llama-cpp", catalog)], lambda _: None)
    [line] = calls(engine, "mmdebstrap")
    assert "--include=ca-certificates,curl,llama.cpp-tools" in line
    assert line.endswith(" sid -")


def test_a_base_has_the_modes_of_debian_whatever_the_umask_is(
    engine: Path, catalog: Catalog
) -> None:
    before = os.umask(0o077)
    try:
        build_images([make_build_plan("llama-cpp", catalog)], lambda _: None)
    finally:
        os.umask(before)
    assert calls(engine, "umask") == ["umask 0022"]


def test_builds_see_the_proxies_of_this_machine_and_no_others(
    engine: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named without a value, Docker's client takes it from the environment, or leaves it unset."""
    monkeypatch.delenv("GOPROXY", raising=False)
    build_images([make_build_plan("llama-cpp", catalog)], lambda _: None)
    [line] = calls(engine, "docker image build")
    named = line.partition("--build-arg")[2].split(" --build-arg ")
    assert {"HTTP_PROXY", "http_proxy", "https_proxy"} <= {name.strip(" -") for name in named}
    assert "GOPROXY" not in line


@pytest.mark.parametrize(
    ("fails", "last_line"),
    [("atelier/litellm", "E: it went wrong"), ("bookworm", "E: cannot reach the archive")],
)
def test_a_failed_build_shows_its_last_lines(
    engine: Path,
    plans: list[ImageBuildPlan],
    monkeypatch: pytest.MonkeyPatch,
    fails: str,
    last_line: str,
) -> None:
    monkeypatch.setenv("FAKE_FAILS", fails)
    with pytest.raises(ImageBuildError) as failed:
        build_images(plans, lambda _: None)
    assert "the build failed; its last lines:" in str(failed.value)
    assert f"      {last_line}\n" in str(failed.value)
    monkeypatch.delenv("FAKE_FAILS")
    build_images(plans, lambda _: None)


def test_a_machine_without_mmdebstrap(
    engine: Path, plans: list[ImageBuildPlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_docker = tmp_path / "bin"
    only_docker.mkdir()
    (only_docker / "docker").symlink_to(BIN / "docker")
    for tool in ("sh", "tr"):
        (only_docker / tool).symlink_to(f"/usr/bin/{tool}")
    monkeypatch.setenv("PATH", str(only_docker))
    with pytest.raises(ImageBuildError, match="mmdebstrap is not installed"):
        build_images(plans, lambda _: None)
