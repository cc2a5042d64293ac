"""Whether a change would leave data behind that people would miss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from deploy.hosts.finding import Finding
from deploy.services import Tier, Unit


def unreadable(units: Sequence[Unit], found: Mapping[str, str]) -> Iterator[Finding]:
    """Data that the wanted version of a service does not read, or would leave behind.

    Args:
        units: the units of a host.
        found: what the files say that tell which version wrote the data, by the unit's name.
    """
    for unit in units:
        file = unit.data_file
        if file and not file.is_right(found.get(unit.name, "")):
            yield Finding(
                f"volume {file.volume}",
                "problem",
                file.refusal.format(found=found[unit.name]),
                file.allowed,
                file.fix,
            )


def stranded(
    elsewhere: Sequence[Unit], owners: Mapping[str, str], deployment: str, main_router: str
) -> Iterator[Finding]:
    """Volumes with data of units that are to run on another host from now on.

    Args:
        elsewhere: the units of the deployment on other hosts.
        owners: deployments that the networks and volumes of this host belong to, by
            ``<kind> <name>``.
        deployment: name of the deployment.
        main_router: where the router is declared that stores run next to.
    """
    for unit in elsewhere:
        setting = main_router if unit.tier == Tier.STORE else unit.tier.value
        for volume in unit.volumes if unit.is_stateful else ():
            if owners.get(f"volume {volume}") == deployment:
                yield Finding(
                    f"volume {volume}",
                    "problem",
                    f"the data of the {unit.serves} is on this host, and the plan moves it to"
                    f" {unit.host}, where it would start without that data",
                    f"the {unit.serves} on the host with its data",
                    f"declare {setting}.host for this host; or copy the volume to"
                    f" {unit.host} and remove it here: docker volume rm {volume}",
                )
