"""Whether Docker has an address range left for one more network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, ip_network

DEFAULT_POOLS = (
    *((f"172.{second}.0.0/16", 16) for second in (17, 18, 19)),
    *((f"172.{second}.0.0/14", 16) for second in (20, 24, 28)),
    ("192.168.0.0/16", 20),
)
"""Where Docker takes networks from unless ``default-address-pools`` says otherwise."""


def free_range(pools: Sequence[tuple[str, int]], taken: Iterable[str]) -> IPv4Network | None:
    """The first range that overlaps nothing, as Docker looks for one; ``None`` if there is none.

    Args:
        pools: ranges, and the prefix length of the networks that are cut out of each.
        taken: ranges of networks and routes.
    """
    used = list(_ipv4(taken))
    for base, size in pools or DEFAULT_POOLS:
        for pool in _ipv4([base]):
            for subnet in pool.subnets(new_prefix=max(size, pool.prefixlen)):
                if not any(subnet.overlaps(other) for other in used):
                    return subnet
    return None


def _ipv4(ranges: Iterable[str]) -> Iterator[IPv4Network]:
    for text in ranges:
        network = ip_network(text, strict=False)
        if isinstance(network, IPv4Network):
            yield network
