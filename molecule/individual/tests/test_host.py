"""What is on the host after Atelier was there: looked at over SSH, without Atelier."""

from __future__ import annotations

import json
import shlex

from testinfra.host import Host

CONTAINERS = ("individual-ollama-tiny-coder-0", "individual-litellm-0")
ASK = """
import json, os, urllib.request
messages = [{"role": "user", "content": "ping"}]
body = {"model": "tiny-coder", "messages": messages, "max_tokens": 60, "temperature": 0}
request = urllib.request.Request(
    "http://127.0.0.1:4000/v1/chat/completions",
    json.dumps(body).encode(),
    {
        "Authorization": "Bearer " + os.environ["LITELLM_MASTER_KEY"],
        "Content-Type": "application/json",
    },
)
print(urllib.request.urlopen(request).read().decode())
"""
"""Asked inside the router's container, which knows the key: it is in no argument."""


def test_there_is_nothing_else(host: Host) -> None:
    assert {container.name for container in host.docker.get_containers()} == set(CONTAINERS)


def test_only_the_router_listens_and_only_here(host: Host) -> None:
    assert host.socket("tcp://127.0.0.1:4000").is_listening
    assert not host.socket("tcp://0.0.0.0:4000").is_listening
    assert not host.socket("tcp://127.0.0.1:11434").is_listening


def test_the_router_answers(host: Host) -> None:
    answer = host.run(f"docker exec individual-litellm-0 python3 -c {shlex.quote(ASK)}")
    assert answer.rc == 0, answer.stderr
    assert "pong" in json.loads(answer.stdout)["choices"][0]["message"]["content"]
