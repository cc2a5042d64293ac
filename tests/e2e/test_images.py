"""Images built here: with either builder, and with nothing of the building machine in them."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from deploy.catalog import load_catalog
from deploy.images import build_images, make_build_plan
from deploy.images.builder import make_context
from tests.e2e.names import CHECKOUT

CLASSIC, BUILDKIT = "0", "1"


def run(*command: str, stdin: bytes = b"", builder: str = CLASSIC) -> str:
    finished = subprocess.run(
        command, input=stdin, capture_output=True, env=os.environ | {"DOCKER_BUILDKIT": builder}
    )
    assert finished.returncode == 0, finished.stderr.decode()
    return finished.stdout.decode()


def client_with(builder: str) -> str:
    """A docker client that has the builder: BuildKit needs buildx, or a client older than 23."""
    for client in filter(None, (shutil.which("docker"), "/usr/bin/docker")):
        version = run(client, "version", "--format", "{{.Client.Version}}")
        buildx = subprocess.run([client, "buildx", "version"], capture_output=True).returncode == 0
        if builder == CLASSIC or buildx or int(version.split(".")[0]) < 23:
            return client
    pytest.skip("no docker client with BuildKit on this machine")


@pytest.fixture(scope="module", autouse=True)
def images() -> None:
    catalog = load_catalog()
    names = ("llama-cpp", "litellm")
    build_images([make_build_plan(name, catalog) for name in names], report=lambda _line: None)


@pytest.mark.parametrize("builder", [CLASSIC, BUILDKIT])
def test_either_builder(builder: str) -> None:
    plan = make_build_plan("llama-cpp", load_catalog())
    client, tag = client_with(builder), f"e2e-builder-{CHECKOUT}:{builder}"
    run(client, "image", "build", "--tag", tag, "-", stdin=make_context(plan), builder=builder)
    entry_point = run("docker", "image", "inspect", "--format", "{{json .Config.Entrypoint}}", tag)
    run("docker", "image", "rm", tag)
    assert entry_point.strip() == '["llama-server"]'


def test_nothing_is_built_twice() -> None:
    plan = make_build_plan("llama-cpp", load_catalog())
    lines: list[str] = []
    build_images([plan], report=lines.append)
    assert lines == []


def test_nothing_of_the_building_machine_is_in_an_image() -> None:
    plan = make_build_plan("litellm", load_catalog())
    digest = "sha256sum /etc/ssl/certs/ca-certificates.crt; ls -d /build /extra-ca.crt || true"
    in_image = run("docker", "run", "--rm", "--entrypoint", "sh", plan.tag, "-c", digest)
    in_base = run("docker", "run", "--rm", plan.base.tag, "sh", "-c", digest)
    assert in_image == in_base
    history = run("docker", "image", "history", "--no-trunc", plan.tag)
    assert "PIP_" not in history
    assert "extra-ca" not in history


FINALISERS = """
import contextvars, gc
variable = contextvars.ContextVar("variable")
class Garbage:
    def __init__(self): self.itself = self
    def __del__(self): variable.set(self)
for threshold in range(1, 60):
    gc.set_threshold(threshold)
    for number in range(500):
        gc.disable(); Garbage(); gc.enable()
        variable.set(number)
print("survived")
"""


def test_the_routers_python_survives_finalisers_that_set_context_variables() -> None:
    """Python 3.11 does not: https://github.com/python/cpython/issues/148891."""
    tag = make_build_plan("litellm", load_catalog()).tag
    command = ("docker", "run", "--rm", "-i", "--entrypoint", "python", tag, "-")
    assert run(*command, stdin=FINALISERS.encode()) == "survived\n"
