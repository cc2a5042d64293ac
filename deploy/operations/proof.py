"""Containers are proven to see a host's cards, before an engine is touched."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from pyinfra import host, state
from pyinfra.connectors.util import OutputLine

from deploy.changes.change import Change
from deploy.errors import HostError
from deploy.facts import look
from deploy.facts.docker import Docker
from deploy.facts.drivers import Drivers
from deploy.facts.gpus import Gpus
from deploy.facts.proofs import RECORD, Proofs
from deploy.hosts.drivers.host_setup import HostSetup
from deploy.hosts.drivers.proof import proofs
from deploy.hosts.explain_docker import explain_docker
from deploy.operations.change import announce
from deploy.operations.commands import Commands, not_deployable, refuse
from deploy.operations.lock import changes_host
from deploy.operations.script import ScriptCommand
from deploy.services import Unit

SCRIPT = "prove_gpus.sh"
DUE = "atelier_proof_due"
"""Where it is kept that this run changes what containers get their cards from."""
TELLING = {"install", "load", "cdi", "docker"}
"""Steps of a setup after which it is to be proven."""
FIXES = {
    r"Driver/library version mismatch": (
        "the driver was replaced while the old one is loaded: restart the host"
    ),
    r"NVML: Unknown Error": (
        "the container may not open the cards: declare gpu_runtime='cdi' for the host, see "
        "https://github.com/NVIDIA/nvidia-container-toolkit/issues/48"
    ),
    r"nvidia-smi.*(executable file not found|no such file)|NVIDIA-SMI couldn't find": (
        "the toolkit put nothing of the driver into the container: see nvidia-ctk cdi list, and "
        "write the specification again: sudo systemctl restart nvidia-cdi-refresh"
    ),
    r"/dev/kfd|/dev/dri": (
        "the container may not open the cards: declare gpu_groups, the numbers that "
        "stat -c %g /dev/kfd /dev/dri/renderD128 prints"
    ),
}
"""What to do, by what was found in the container; the first pattern that is found counts."""
FIX = (
    "see what the host itself says (nvidia-smi, rocminfo), and atelier doctor; engines were not "
    "touched: run this again when it is put right"
)


def remember(setup: HostSetup) -> None:
    """Note that the current host is to be proven, if what is done to it has to do with that."""
    if setup.reboot or any(step.arguments[0] in TELLING for step in setup.steps):
        host.connector_data[DUE] = True


class ProofCommand(ScriptCommand):
    """Asks a container."""

    def said(self, output: Iterable[OutputLine]) -> str:
        """All of it: what was found is indented."""
        return "\n".join(line.line for line in output)

    def explain(self, said: str) -> str:
        """The fix for what it found."""
        found = (fix for pattern, fix in FIXES.items() if re.search(pattern, said, re.IGNORECASE))
        return f"fix: {next(found, '') or explain_docker(said) or FIX}"


@changes_host
def made(units: tuple[Unit, ...], deployment: str, directory: PurePosixPath) -> Commands:
    """Every image of engines was proven to see the cards, since anything of them changed.

    Args:
        units: what runs on the host.
        deployment: name of the deployment.
        directory: its own directory on the host.
    """
    gpus, drivers, docker = look.ask(Gpus), look.ask(Drivers), look.ask(Docker)
    before = look.ask(Proofs, directory=str(directory))
    keys = {proof: proof.key(gpus, drivers, docker.version) for proof in proofs(units)}
    is_due = bool(host.connector_data.get(DUE))
    due = [proof for proof, key in keys.items() if is_due or before.get(proof.image) != key]
    if not due:
        host.noop("containers were proven to see the cards, and nothing has changed since")
        return
    try:
        # a dry run may come before there is a driver
        expected = [each.expected(gpus, drivers) if state.is_executing else "" for each in due]
    except HostError as error:
        yield from refuse(not_deployable(error))
        return
    place = (str(directory / RECORD), f"{deployment}-proof")
    for proof, answer in zip(due, expected, strict=True):
        announce(Change(f"the cards in a container of {proof.image}", "prove"))
        asked = (proof.image, keys[proof], answer, proof.question(gpus))
        yield ProofCommand(
            *(SCRIPT, *place, *asked, *proof.access),
            redact=str,
            progress="asking a container for the cards",
        )
    host.connector_data.pop(DUE, None)
