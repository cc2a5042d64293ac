"""A deployment that fails leaves yesterday's service running."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.names import NAME
from tests.e2e.registry import Registry
from tests.e2e.site import Settings, Site
from tests.e2e.test_changes import ENGINE, ROUTER

Change = Callable[..., Settings]

CRASHING = 'ENTRYPOINT ["sh", "-c", "echo this image is broken >&2; exit 3"]'
SILENT = 'ENTRYPOINT ["sh", "-c", "echo waiting for nothing >&2; exec sleep 600"]'


def refused(site: Site, service: str, expected: str) -> None:
    """The deployment fails, says why, and the old container serves as before."""
    before = site.container(service).id
    result = site.deploy()
    assert result.status == 1
    assert expected in result.output
    assert "the container before it serves again" in result.output
    assert "Traceback" not in result.output
    assert site.container(service).id == before
    assert set(site.snapshot()) == {f"{NAME}-{ENGINE}-0", f"{NAME}-{ROUTER}-0"}
    assert "a, b = b, a + b" in site.complete()


def recovers(site: Site, settings: Settings) -> None:
    """Declaring what worked before again needs no new container."""
    before = {name: row[0] for name, row in site.snapshot().items()}
    site.write(settings)
    assert site.deploy().status == 0
    assert {name: row[0] for name, row in site.snapshot().items()} == before
    assert site.deploy().succeeded == 0


@pytest.mark.parametrize(
    ("tag", "entrypoint", "expected"),
    [
        ("broken", CRASHING, "this image is broken"),
        ("never-healthy", SILENT, "waiting for nothing"),
    ],
)
def test_broken_image(
    site: Site,
    changed: Change,
    base_settings: Settings,
    registry: Registry,
    tag: str,
    entrypoint: str,
    expected: str,
) -> None:
    local = str(site.container(ENGINE).attrs["Config"]["Image"])
    image = registry.build(f"FROM {local}\n{entrypoint}\n", f"llama-cpp:{tag}")
    images = {"llama-cpp": {"reference": image}}
    site.write(changed(images=images, engine__start_timeout_seconds=8))
    refused(site, ENGINE, expected)
    recovers(site, base_settings)


def test_crashing_argument(site: Site, changed: Change, base_settings: Settings) -> None:
    site.write(changed(engine__extra_args=["--no-such-flag"]))
    refused(site, ENGINE, "--no-such-flag")
    recovers(site, base_settings)


def test_crashing_configuration(site: Site, changed: Change, base_settings: Settings) -> None:
    """The old container finds the configuration it was started with."""
    settings = changed(router__env={"LITELLM_MODE": "PRODUCTION", "PYTHONHOME": "/nowhere"})
    settings["router"]["num_retries"] = 7
    site.write(settings)
    refused(site, ROUTER, "PYTHONHOME")
    recovers(site, base_settings)


def test_image_that_cannot_be_pulled(
    site: Site, changed: Change, base_settings: Settings, registry: Registry
) -> None:
    site.write(changed(images={"litellm": {"reference": f"{registry.address}/litellm:missing"}}))
    before = site.snapshot()
    result = site.deploy()
    assert result.status == 1
    assert "litellm:missing" in result.output
    assert site.snapshot() == before
    recovers(site, base_settings)


def test_foreign_container_is_left_alone(
    site: Site, changed: Change, base_settings: Settings
) -> None:
    image = str(site.container(ENGINE).attrs["Config"]["Image"])
    foreign = site.client.containers.create(image, name=f"{NAME}-llama-cpp-theirs-0")
    try:
        weights = site.container(ENGINE).attrs["Mounts"][0]["Source"] + "/tiny-coder-q8_0.gguf"
        models = [{"name": "tiny-coder"}, {"name": "theirs", "path": weights}]
        site.write(changed(models=models))
        for result in (site.dry_run(), site.deploy()):
            assert result.status == 1
            assert f"{NAME}-llama-cpp-theirs-0 belongs to somebody else" in result.output
            assert "Traceback" not in result.output
        assert site.client.containers.get(str(foreign.id)).status == "created"
    finally:
        foreign.remove()
    recovers(site, base_settings)


def test_port_in_use(site: Site, changed: Change, base_settings: Settings) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        before = site.snapshot()
        site.write(changed(router__port=port))
        for result in (site.dry_run(), site.deploy()):
            assert result.status == 1
            assert f"router.port: port {port} is in use by another program" in result.output
            assert "Traceback" not in result.output
        assert site.snapshot() == before
    recovers(site, base_settings)
