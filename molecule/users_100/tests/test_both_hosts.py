"""The stack of 100 people on its hosts, looked at over SSH, without Atelier."""

from __future__ import annotations

from testinfra.host import Host

CONTAINERS = {
    "gpu1": {
        *("people-llama-cpp-tiny-coder-0", "people-link-client-0", "people-haproxy-0"),
        *("people-litellm-0", "people-litellm-1", "people-postgres-0", "people-valkey-0"),
        *("people-listener-0", "people-listener-client-0"),
        *("people-open-webui-0", "people-open-webui-1"),
    },
    "gpu2": {
        *("people-llama-cpp-tiny-coder-1", "people-link-server-gpu2-0"),
        "people-listener-server-gpu2-0",
    },
}
PORTS = {"gpu1": {"22", "80", "443"}, "gpu2": {"22", "8443"}}


def test_there_is_nothing_else(host: Host) -> None:
    found = {container.name for container in host.docker.get_containers()}
    assert found == CONTAINERS[host.backend.get_hostname()]


def test_only_entry_and_link_listen_for_others(host: Host) -> None:
    sockets = [name.removeprefix("tcp://") for name in host.socket.get_listening_sockets()]
    own = {"0.0.0.0", *host.check_output("hostname -I").split()}  # noqa: S104 - compared with
    for_others = [name for name in sockets if name.rpartition(":")[0] in own]
    ports = {name.rpartition(":")[2] for name in for_others}
    assert ports == PORTS[host.backend.get_hostname()]
