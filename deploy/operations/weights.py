"""Weights of Hugging Face: complete on a host before an engine that loads them is touched."""

from __future__ import annotations

import json
from typing import Any

from pyinfra import host
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from deploy.changes.change import ABSENT, Change, FieldChange
from deploy.errors import Problem
from deploy.facts.weights import WeightsState
from deploy.hub import HubFile, Listing
from deploy.hub.listing import file_url
from deploy.operations.change import announce
from deploy.operations.commands import Commands, refuse, show_failure
from deploy.operations.copy import CopyCommand
from deploy.operations.hub import Hub, environment, listing_of, state_of
from deploy.operations.lock import changes_host
from deploy.operations.script import ScriptCommand, fix_of
from deploy.scripts import read_script
from deploy.secrets import SecretStore
from deploy.services import HostWeights
from deploy.spec import SecretName
from deploy.units import MB

SCRIPT = "weights.sh"
CODE = "fetch_weights.py"
INSIDE = "/weights"
"""Where the cache is in the container that fetches."""
TELL_SECONDS = 15


@changes_host
def present(
    weights: HostWeights, on_host: tuple[HostWeights, ...], secrets: SecretStore
) -> Commands:
    """The cache of the host has the revision: every file that the hub lists, with its size.

    Digests are compared when files arrive. What arrived before a cut is gone on with.

    Args:
        weights: what must be there.
        on_host: everything that must be there: one look answers it all.
        secrets: with the token in them.
    """
    found = state_of(weights, on_host)
    if found.is_complete(weights.revision):
        host.noop(f"weights {weights.name} are there")
        return
    listing = listing_of(weights, found, secrets)
    if isinstance(listing, Problem):
        yield from refuse(str(listing))
        return
    announce(_change(weights, found, listing))
    if weights.source == "copy":
        missing = {file.blob: file for file in listing.files if not found.has(file)}
        for file in missing.values():
            yield CopyWeights(weights, listing.commit, file, secrets)
        yield BringCommand("place", weights, listing, secrets)
    else:
        yield BringCommand("fetch", weights, listing, secrets)


class BringCommand(ScriptCommand):
    """Fetches a revision in the engine's image, or puts in place what was copied.

    Args:
        action: ``fetch``, or ``place`` where every file was copied.
        weights: what, and where to.
        listing: its files.
        secrets: with the token in them.
    """

    timeout_seconds = 7 * 24 * 3600
    """A slow line may take days; a transfer that stands still ends by itself."""

    def __init__(
        self, action: str, weights: HostWeights, listing: Listing, secrets: SecretStore
    ) -> None:
        super().__init__(
            *(SCRIPT, action, str(weights.cache), weights.repository, weights.image),
            read_script(CODE),
            stdin=json.dumps(make_job(action, weights, listing, secrets)),
            redact=secrets.redact,
            progress="",
        )
        self._weights = weights

    def explain(self, said: str) -> str:
        """What to do about it."""
        failure = f"weights {self._weights.name} are not complete; the engines are as they were"
        if "No module named" in said:
            fix = "the engine's image needs Python and huggingface_hub: declare another image"
        else:
            fix = fix_of(said).removeprefix("fix: ") or "run it again: what arrived stays there"
        return f"{failure}\n    fix: {fix}"


class CopyWeights(PyinfraCommand):
    """Fetches one file to this machine, unless it is here, and copies it to the host.

    Args:
        weights: what it belongs to.
        commit: the commit that it is fetched from.
        file: which.
        secrets: with the token in them.
    """

    def __init__(
        self, weights: HostWeights, commit: str, file: HubFile, secrets: SecretStore
    ) -> None:
        super().__init__()
        self._weights = weights
        self._commit = commit
        self._file = file
        self._secrets = secrets

    def __repr__(self) -> str:
        return f"CopyWeights({self._weights.name}, {self._file.path})"

    def execute(self, state: State, host: Host, connector_arguments: Any) -> bool:
        """Fetch and copy it."""
        from deploy.hub.here import FetchError, fetch_file

        weights, file = self._weights, self._file
        token = self._secrets.declared(SecretName.HUGGINGFACE_TOKEN)
        url = file_url(weights.endpoint, weights.repository, self._commit, file.path)
        try:
            local = fetch_file(file, url, token, host.log)
        except FetchError as error:
            show_failure(host, f"weights {weights.name}: {error}")
            return False
        path = weights.folder / "blobs" / file.blob
        name = f"{weights.repository} {file.path}"
        return CopyCommand(local, path, name).execute(state, host, connector_arguments)


def make_job(
    action: str, weights: HostWeights, listing: Listing, secrets: SecretStore
) -> dict[str, Any]:
    """What the script in the engine's image is told; the token only where it fetches."""
    hub = Hub(weights, secrets, from_host=True)
    return {
        "hub": f"{INSIDE}/hub",
        "record": f"{INSIDE}/atelier/{weights.folder_name}/{weights.revision}",
        "endpoint": weights.endpoint,
        "repository": weights.repository,
        "revision": weights.revision,
        "commit": listing.commit,
        "token": hub.token if action == "fetch" else "",
        "environment": dict(environment(hub)) if action == "fetch" else {},
        "files": [
            {"path": file.path, "size": file.size_bytes, "blob": file.blob}
            for file in listing.files
        ],
        "tell_seconds": TELL_SECONDS,
    }


def _change(weights: HostWeights, found: WeightsState, listing: Listing) -> Change:
    before = ", ".join(found.revisions) or ABSENT
    old = "incomplete" if found.commit == listing.commit else before
    there, whole = found.there_bytes(listing.files), listing.size_bytes
    return Change(
        f"weights {weights.repository}",
        weights.source,
        (
            FieldChange("revision", old, f"{weights.revision} ({listing.commit[:12]})"),
            FieldChange("size", f"{there / MB:.0f} MB", f"{whole / MB:.0f} MB"),
        ),
    )
