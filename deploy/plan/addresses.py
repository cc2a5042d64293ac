"""How one host reaches another, and how addresses are written."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def bracketed(address: str) -> str:
    """An address as it stands before a port: IPv6 in brackets, e.g. ``[fd00::11]``."""
    try:
        return f"[{address}]" if isinstance(ip_address(address), IPv6Address) else address
    except ValueError:
        return address


def host_and_port(address: str, port: int) -> str:
    """E.g. ``10.0.0.11:8000`` or ``[fd00::11]:8000``."""
    return f"{bracketed(address)}:{port}"


def is_address(text: str) -> bool:
    """Whether it is an IP address, and not a name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_of_no_network(address: str) -> bool:
    """Whether an IP address is one that no other host reaches."""
    found = ip_address(address)
    return found.is_loopback or found.is_unspecified
