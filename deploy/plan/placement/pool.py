"""GPUs that engines may use together: those of one kind in one host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deploy.sizing.device import Device, weakest


@dataclass(frozen=True)
class Gpus:
    """The GPUs of one host."""

    host: str
    devices: tuple[Device, ...]
    """Cards, and instances of those that are divided."""
    ids: tuple[str, ...] = ()
    """What each is called on the host: ``0`` is a card, ``1:0`` the first instance of another."""

    @property
    def most_together(self) -> int:
        """How many of them one replica can lie on: no two instances of divided cards."""
        whole = sum(not device.instance for device in self.devices)
        return whole or min(len(self.devices), 1)


@dataclass(frozen=True)
class Pool:
    """GPUs of one host that count as equal."""

    host: str
    device: Device
    """Each of them; of several kinds, the weakest figures."""
    indices: tuple[int, ...]
    """Which GPUs of the host."""

    @property
    def size(self) -> int:
        """How many."""
        return len(self.indices)


def device_of(hosts: Iterable[Gpus], host: str, gpus: Iterable[int]) -> Device:
    """What each of some GPUs of a host counts as; of several kinds, the weakest of them.

    Args:
        hosts: the GPUs of all hosts.
        host: name of the host.
        gpus: their indices.
    """
    wanted = set(gpus)
    found = (pool for each in hosts if each.host == host for ways in pools(each) for pool in ways)
    return next(pool.device for pool in found if wanted <= set(pool.indices))


def pools(gpus: Gpus) -> Iterator[tuple[Pool, ...]]:
    """Every way to see a host's GPUs as pools.

    Kinds stay apart, or the larger ones are taken together, where the weakest decides for all. An
    instance of a card that is divided is a pool of its own: NCCL does not connect instances.
    """
    kinds = _kinds(gpus)
    alone = tuple(_pool(gpus, (i,)) for i, each in enumerate(gpus.devices) if each.instance)
    if alone and not kinds:
        yield alone
    for together in range(1, len(kinds) + 1):
        head, tail = kinds[:together], kinds[together:]
        if len({pool.device.vendor for pool in head}) == 1:
            yield (_merged(gpus, head), *tail, *alone)


def _kinds(gpus: Gpus) -> tuple[Pool, ...]:
    """One pool for each kind, the largest cards first."""
    names = dict.fromkeys(device.name for device in gpus.devices if not device.instance)
    found = [
        _pool(gpus, tuple(i for i, device in enumerate(gpus.devices) if device.name == name))
        for name in names
    ]
    return tuple(sorted(found, key=lambda pool: (-pool.device.usable_gib, pool.device.name)))


def _merged(gpus: Gpus, parts: tuple[Pool, ...]) -> Pool:
    if len(parts) == 1:
        return parts[0]
    return _pool(gpus, tuple(index for part in parts for index in part.indices))


def _pool(gpus: Gpus, indices: tuple[int, ...]) -> Pool:
    devices = tuple(gpus.devices[index] for index in indices)
    return Pool(gpus.host, weakest(devices), indices)
