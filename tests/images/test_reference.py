"""Names of images, beside what Docker's own SDK makes of them."""

from __future__ import annotations

import pytest
from docker.auth import resolve_repository_name

from deploy.images.reference import address_of, familiar, listed


@pytest.mark.parametrize(
    "reference",
    [
        "postgres:17",
        "ollama/ollama:0.34.0",
        "docker.io/library/postgres:17",
        "docker.io/vllm/vllm-openai:v0.26.0",
        "index.docker.io/ollama/ollama:0.34.0",
        "localhost/x:1",
        "registry.lab:5000/hub/litellm:v1@sha256:12",
        "ghcr.io/berriai/litellm:v1",
    ],
)
def test_registries_are_found_as_docker_finds_them(reference: str) -> None:
    address, path = resolve_repository_name(reference)
    assert address_of(reference) == address
    assert familiar(reference) in {path.removeprefix("library/"), f"{address}/{path}"}


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("docker.io/library/postgres:17", "postgres:17"),
        ("library/postgres:17", "postgres:17"),
        ("index.docker.io/ollama/ollama:1", "ollama/ollama:1"),
        ("ghcr.io/library/x:1", "ghcr.io/library/x:1"),
        ("localhost/x:1", "localhost/x:1"),
    ],
)
def test_docker_shows_no_name_of_its_own_registry(reference: str, shown: str) -> None:
    assert familiar(reference) == shown


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("docker.io/library/postgres:17", "postgres:17"),
        ("postgres:17@sha256:12", "postgres@sha256:12"),
        ("registry.lab:5000/hub/litellm:v1@sha256:12", "registry.lab:5000/hub/litellm@sha256:12"),
        ("registry.lab:5000/hub/litellm@sha256:12", "registry.lab:5000/hub/litellm@sha256:12"),
    ],
)
def test_docker_lists_an_image_with_a_digest_without_its_tag(reference: str, shown: str) -> None:
    assert listed(reference) == shown
