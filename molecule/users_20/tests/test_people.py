"""The stack of 20 people on its host, and what one of them is answered, without Atelier."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest
import yaml
from testinfra.host import Host

CONTAINERS = {
    *("people-llama-cpp-tiny-coder-0", "people-litellm-0", "people-litellm-1"),
    *("people-postgres-0", "people-valkey-0", "people-open-webui-0", "people-haproxy-0"),
    "people-listener-0",
}


@pytest.fixture
def person(request: pytest.FixtureRequest) -> httpx.Client:
    """Somebody with a key of their own, who trusts the deployment's root certificate alone."""
    state = Path(request.config.getoption("ssh_config")).parent
    pairs = yaml.safe_load((state / "secrets.yaml").read_text())["certificates"]
    key = (state / "people-keys/ada.env").read_text().partition("OPENAI_API_KEY=")[2].split()[0]
    return httpx.Client(
        base_url=f"https://{(state / 'box/address').read_text()}",
        verify=ssl.create_default_context(cadata=pairs["authority"]["certificate"]),
        headers={"Authorization": f"Bearer {key}"},
        timeout=120,
        trust_env=False,
    )


def test_there_is_nothing_else(host: Host) -> None:
    assert {container.name for container in host.docker.get_containers()} == CONTAINERS


def test_only_the_entry_listens_for_others(host: Host) -> None:
    sockets = {name.removeprefix("tcp://") for name in host.socket.get_listening_sockets()}
    for_others = {name for name in sockets if name.startswith(("0.0.0.0:", ":::"))}
    assert {name.rpartition(":")[2] for name in for_others if name[0] == "0"} == {"22", "80", "443"}
    assert {"127.0.0.1:4000", "127.0.0.1:3000"} <= sockets
    assert not {name for name in sockets if name.endswith((":5432", ":6379", ":8080"))}


@pytest.mark.parametrize("name", ["people-postgres-0", "people-valkey-0"])
def test_stores_are_confined(host: Host, name: str) -> None:
    store = host.docker(name).inspect()
    assert store["HostConfig"]["ReadonlyRootfs"] is True
    assert store["Config"]["User"] == "999:999"
    assert not store["HostConfig"]["PortBindings"]


def test_a_person_is_answered_over_tls(person: httpx.Client) -> None:
    messages = [{"role": "user", "content": "ping"}]
    body = {"model": "tiny-coder", "messages": messages, "max_tokens": 60, "temperature": 0}
    with person:
        reply = person.post("/v1/chat/completions", json=body)
        assert reply.status_code == 200, reply.text
        assert "pong" in reply.json()["choices"][0]["message"]["content"]
        assert reply.headers["x-ratelimit-api_key-limit-max_parallel_requests"] == "8"
        assert "<html" in person.get("/").text
        assert person.post("/key/generate", json={}).status_code == 403
