"""Whether a change would leave data behind that people would miss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from deploy.hosts.finding import Finding
from deploy.services import Unit


def stranded(
    elsewhere: Sequence[Unit], owners: Mapping[str, str], deployment: str
) -> Iterator[Finding]:
    """Volumes with data of units that are to run on another host from now on.

    Args:
        elsewhere: the units of the deployment on other hosts.
        owners: deployments that the networks and volumes of this host belong to, by
            ``<kind> <name>``.
        deployment: name of the deployment.
    """
    for unit in elsewhere:
        for volume in unit.volumes if unit.is_stateful else ():
            if owners.get(f"volume {volume}") == deployment:
                yield Finding(
                    f"volume {volume}",
                    "problem",
                    f"the data of the {unit.serves} is on this host, and the plan moves it to"
                    f" {unit.host}, where it would start without that data",
                    f"the {unit.serves} on the host with its data",
                    f"declare {unit.tier.value}.host for this host; or copy the volume to"
                    f" {unit.host} and remove it here: docker volume rm {volume}",
                )
