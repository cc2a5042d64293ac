"""How addresses are written, and that every place does so."""

from __future__ import annotations

import pytest

from deploy.plan.addresses import bracketed, host_and_port
from deploy.services import Tier
from tests.conftest import MakeArtefacts


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("10.0.0.11", "10.0.0.11:8000"),
        ("fd00::11", "[fd00::11]:8000"),
        ("::1", "[::1]:8000"),
        ("gpu1.lab", "gpu1.lab:8000"),
    ],
)
def test_an_address_and_its_port(address: str, written: str) -> None:
    assert host_and_port(address, 8000) == written
    assert bracketed(address) == written.removesuffix(":8000")


def test_an_engine_host_with_an_ipv6_address(make: MakeArtefacts) -> None:
    artefacts = make(
        hosts=[{"name": "a", "address": "fd00::10"}, {"name": "b", "address": "fd00::11"}],
        models=[{"name": "tiny-coder", "replicas": 2}],
        engine={"port": 8000},
    )
    [client] = [unit for unit in artefacts.stack.on("a") if unit.tier == Tier.LINK and unit.config]
    assert client.config
    assert "server link [fd00::11]:8443 ssl" in str(client.config.files["haproxy.cfg"].content)
    # no link ends on the other host
    assert [text for text in artefacts.plan.warnings if "IPv6" in text] == [
        "hosts[1].address: containers reach fd00::11 only where Docker gives each network IPv6"
        ' ("default-network-opts"); declare an IPv4 address'
    ]
    [server] = [unit for unit in artefacts.stack.on("b") if unit.container.ports]
    published = server.create_arguments("demo", artefacts.secrets.digest)
    assert published[published.index("--publish") + 1] == "[fd00::11]:8443:8443"


def test_a_web_ui_on_another_host_than_the_router(make: MakeArtefacts) -> None:
    artefacts = make(
        hosts=[{"name": "a", "address": "fd00::10"}, {"name": "b", "address": "10.0.0.2"}],
        router={"host": "a"},
        web_ui={"host": "b"},
    )
    [web_ui] = [unit for unit in artefacts.stack.on("b") if unit.serves == "web UI"]
    url = web_ui.container.env["OPENAI_API_BASE_URLS"]
    assert url == "http://demo-listener-client-b-0:8080/demo-litellm-0/v1"
    [client] = [unit for unit in artefacts.stack.on("b") if unit.tier == Tier.LINK and unit.config]
    assert client.name == "demo-link-client-b-0"
    assert client.config
    assert "server link [fd00::10]:8443 ssl" in str(client.config.files["haproxy.cfg"].content)
