"""Under which names people come in, and why they could not."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.endpoints import router_url, web_ui_url
from deploy.errors import PlanError
from tests.conftest import MakeArtefacts

ANYWHERE = "0.0.0.0"  # noqa: S104 - declared, not bound
REMOTE = {"name": "GPU1.lab.example"}


@pytest.mark.parametrize(
    ("entry", "host", "urls"),
    [
        ({}, {"name": "@local"}, ["https://127.0.0.1", "https://localhost"]),
        ({}, {"name": "@local", "address": "10.0.0.9"}, ["https://10.0.0.9"]),
        ({}, REMOTE, ["https://gpu1.lab.example"]),
        ({}, REMOTE | {"address": "fd00::9"}, ["https://[fd00::9]"]),
        ({"https_port": 8443}, REMOTE | {"address": "fd00::9"}, ["https://[fd00::9]:8443"]),
        ({"listen": "10.0.0.7"}, REMOTE, ["https://10.0.0.7"]),
        (
            {"names": ["ai.lab.example", "FD00:0::5", "ai.lab.example"]},
            REMOTE,
            ["https://ai.lab.example", "https://[fd00::5]"],
        ),
    ],
)
def test_addresses(
    make: MakeArtefacts, entry: dict[str, Any], host: dict[str, Any], urls: list[str]
) -> None:
    made = make(entry=entry, hosts=[host])
    assert made.plan.entry
    assert list(made.plan.entry.urls) == urls
    assert router_url(made) == web_ui_url(made) == urls[0]


def test_a_declared_address_of_the_web_ui_stays(make: MakeArtefacts) -> None:
    made = make(entry={}, web_ui={"url": "https://chat.lab.example"})
    assert web_ui_url(made) == "https://chat.lab.example"


def test_a_host_that_is_called_what_nobody_can_type(make: MakeArtefacts) -> None:
    with pytest.raises(PlanError) as refused:
        make(entry={}, hosts=[{"name": "gpu_1"}])
    assert str(refused.value) == (
        "entry.names: not declared, and 'gpu_1' of the host is neither a DNS name nor an address\n"
        "    allowed: DNS names and IP addresses that people type\n"
        "    fix: declare entry=Entry(names=[...])"
    )


def test_the_port_of_a_link(make: MakeArtefacts) -> None:
    hosts = [
        {"name": "a.lab.example", "address": "10.0.0.1"},
        {"name": "b.lab.example", "address": "10.0.0.2"},
    ]
    with pytest.raises(PlanError) as refused:
        make(
            hosts=hosts,
            models=[{"name": "tiny-coder", "replicas": 2}],
            router={"listen": ANYWHERE},
            web_ui=None,
            entry={"host": "b.lab.example", "https_port": 8443},
        )
    assert "links.port: 8443, which entry.https_port is on b.lab.example, too" in str(refused.value)
