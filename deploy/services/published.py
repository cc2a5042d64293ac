"""Ports of engines that a router on another host must reach."""

from __future__ import annotations

from deploy.plan.deployment_plan import HostPlan, ReplicaPlan
from deploy.services.container import Port


def ports(replica: ReplicaPlan, host: HostPlan, container_port: int) -> tuple[Port, ...]:
    """The published port of a replica, bound to its host's address; none beside the router."""
    if replica.port is None:
        return ()
    return (Port(host_ip=host.address, host_port=replica.port, container_port=container_port),)
