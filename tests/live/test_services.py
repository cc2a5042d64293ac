"""Services of systemd, read past pyinfra: from recorded answers of a Debian 12 host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from deploy.artefacts import Artefacts
from deploy.errors import ConnectionFailedError, ServiceError
from deploy.live import logs, status
from deploy.live.logs import read_logs
from deploy.live.status import ServiceStatus, read_status
from deploy.spec import HostSpec, SecretName
from tests.conftest import MakeArtefacts
from tests.operations.found import live_service
from tests.recognisable import SECRETS

HOSTS = [
    {
        "name": "gpu1",
        "address": "10.0.0.7",
        "engines": "native",
        "programs": {"llama-server": {"path": "/usr/bin/llama-server", "version": "1"}},
    },
    {"name": "web", "address": "10.0.0.8"},
]
NAME = "demo-llama-cpp-tiny-coder-0"
SHOWN = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "ActiveEnterTimestampMonotonic": "5000000",
    "MemoryCurrent": "64557056",
    "now": "1000",
    "up": "65",
    "health": "yes",
}


class Answering:
    """A connection to a host that prints what it is told to."""

    def __init__(self, output: str, status: int = 0) -> None:
        self.asked: list[str] = []
        self._output, self._status = output, status

    def run(self, command: str) -> tuple[int, str]:
        self.asked.append(command)
        return self._status, self._output

    def stream(self, command: str) -> Iterator[bytes]:
        self.asked.append(command)
        yield self._output.encode()


@pytest.fixture
def native(make: MakeArtefacts) -> Artefacts:
    return make(hosts=HOSTS, router={"host": "web"}, web_ui=None)


def answer(artefacts: Artefacts, **differences: str) -> str:
    """What such a host prints of the engine, but for the differences."""
    files = live_service(artefacts, NAME).files
    digests = {
        "unit_sha256": files["unit file"],
        "environment_sha256": files["environment file"],
    }
    said = SHOWN | digests | differences
    unit = artefacts.stack.units[0]
    [text] = unit.create_arguments(artefacts.plan.name, artefacts.secrets.digest)
    return "".join(f"{name}={value}\n" for name, value in said.items()) + text


def use(monkeypatch: pytest.MonkeyPatch, module: Any, there: Answering) -> None:
    @contextmanager
    def connect(host: HostSpec, *, needs_docker: bool) -> Iterator[Any]:
        if host.name != "gpu1":
            raise ConnectionFailedError
        assert not needs_docker
        yield there

    monkeypatch.setattr(module, "connect", connect)


def engine_status(
    artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch, output: str
) -> ServiceStatus:
    use(monkeypatch, status, Answering(output))
    return next(row for row in read_status(artefacts) if row.service == NAME)


def test_a_service_that_runs(native: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    row = engine_status(native, monkeypatch, answer(native))
    assert row.ok
    assert (row.image, row.url) == ("llama-server 1", "http://10.0.0.7:8000")
    assert (row.memory_bytes, row.memory_limit_bytes) == (64557056, 2 * 1024**3)


@pytest.mark.parametrize(
    ("differences", "drift", "state"),
    [
        ({"unit_sha256": "x"}, ("live unit file",), "running"),
        ({"environment_sha256": "x"}, ("live environment file",), "running"),
        ({"UnitFileState": "disabled"}, ("start",), "running"),
        ({"ActiveState": "failed", "SubState": "failed"}, (), "exited"),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, (), "restarting"),
        # only root can read it: what is not known is not said to differ
        ({"environment_sha256": ""}, (), "running"),
        ({"LoadState": "not-found"}, ("service",), "absent"),
    ],
)
def test_what_is_not_as_wanted(
    native: Artefacts,
    monkeypatch: pytest.MonkeyPatch,
    differences: dict[str, str],
    drift: tuple[str, ...],
    state: str,
) -> None:
    row = engine_status(native, monkeypatch, answer(native, **differences))
    assert (row.drift, row.state) == (drift, state)


def test_another_command_line_is_drift(
    make: MakeArtefacts, native: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = make(hosts=HOSTS, router={"host": "web"}, web_ui=None, engine={"threads": 3})
    assert engine_status(wanted, monkeypatch, answer(native)).drift == ("command",)


def test_a_systemd_that_does_not_answer(native: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, status, Answering("Failed to connect to bus", 1))
    with pytest.raises(ConnectionFailedError, match="systemd does not answer: Failed to connect"):
        list(read_status(native))


def test_its_log_has_no_secrets(native: Artefacts, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Answering(f"one\nkey {SECRETS[SecretName.ENGINE_API_KEY]}\n")
    use(monkeypatch, logs, there)
    lines = list(read_logs(native, native.stack.units[0], tail=7, follow=True))
    assert lines == ["one", "key <engine_api_key>"]
    assert there.asked[-1] == (
        f"journalctl --unit {NAME}.service --lines 7 --output cat --no-pager --follow"
    )


def test_a_service_that_is_not_there_has_no_log(
    native: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, logs, Answering("No files found", 1))
    with pytest.raises(ServiceError, match="there is no such service"):
        list(read_logs(native, native.stack.units[0], tail=7, follow=False))
