"""The container engine's API, as far as day-2 verbs read it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import ImageNotFound, NotFound

from deploy.artefacts import Artefacts
from deploy.errors import ConnectionFailedError, Problem
from deploy.spec import HostSpec
from tests.fake_host import image_id, inspect_row

USED_BYTES = 300 * 1024**2


@dataclass
class FakeContainer:
    """A container of the API."""

    attrs: dict[str, Any]
    log: bytes = b""

    def stats(self, **_: Any) -> dict[str, Any]:
        """Memory with 50 MiB of page cache in it."""
        cache = 50 * 1024**2
        return {"memory_stats": {"usage": USED_BYTES + cache, "stats": {"inactive_file": cache}}}

    def exec_run(self, command: list[str]) -> tuple[int, bytes]:
        """What HAProxy says of the certificate of a link's end."""
        assert "show ssl cert" in command[-1]
        return 0, b"notAfter: Dec 30 00:35:08 2047 GMT\nSHA1 FingerPrint: 7D51\n"

    def logs(self, *, tail: int, stream: bool = False, **_: Any) -> Any:
        """Whole, or in chunks that end anywhere."""
        lines = self.log.splitlines(keepends=True)
        text = b"".join(lines[-tail:] if tail else [])
        return iter([text[:7], text[7:20], text[20:]]) if stream else text


@dataclass
class FakeEngine:
    """What runs on a host, by name."""

    running: dict[str, FakeContainer] = field(default_factory=dict)
    images_by_reference: dict[str, str] = field(default_factory=dict)

    @property
    def containers(self) -> SimpleNamespace:
        return SimpleNamespace(get=self._get_container)

    @property
    def images(self) -> SimpleNamespace:
        return SimpleNamespace(get=self._get_image)

    def _get_container(self, name: str) -> FakeContainer:
        if name not in self.running:
            raise NotFound(name)
        return self.running[name]

    def _get_image(self, reference: str) -> SimpleNamespace:
        if reference not in self.images_by_reference:
            raise ImageNotFound(reference)
        return SimpleNamespace(id=self.images_by_reference[reference])


def running(artefacts: Artefacts) -> FakeEngine:
    """An engine on which everything runs as planned."""
    units = artefacts.stack.units
    references = [unit.container.image for unit in units]
    return FakeEngine(
        {unit.container.name: FakeContainer(inspect_row(unit, artefacts)) for unit in units},
        {reference: image_id(reference) for reference in references},
    )


def use(
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    *modules: str,
    down: Collection[str] = (),
) -> None:
    """Let these modules find that engine on every host but those that are down."""

    @contextmanager
    def connect(host: HostSpec, *, needs_docker: bool) -> Iterator[SimpleNamespace]:
        assert needs_docker
        if host.name in down:
            raise ConnectionFailedError(Problem(f"host {host.name}", "no answer"))
        yield SimpleNamespace(client=engine)

    for module in modules:
        monkeypatch.setattr(f"{module}.connect", connect)
