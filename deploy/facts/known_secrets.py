"""What a host knows of the secrets that it was deployed with; a part of its first look."""

from __future__ import annotations

import shlex

from deploy.facts.sections import first
from deploy.secrets.fingerprint import FILE, KnownSecrets, secrets_in_labels
from deploy.services.container import LABEL_DEPLOYMENT, LABEL_SPEC


def look_at_known_secrets(deployment: str, directory: str) -> str:
    """Shell command that prints the sections; of hosts without the file, from their containers.

    Args:
        deployment: name of the deployment.
        directory: its own directory on the host.
    """
    path = shlex.quote(f"{directory}/{FILE}")
    label = shlex.quote(f"label={LABEL_DEPLOYMENT}={deployment}")
    template = shlex.quote(f'{{{{index .Config.Labels "{LABEL_SPEC}"}}}}')
    return (
        f"echo '@fingerprint'; line=; {{ read -r line <{path} || :; }} 2>/dev/null; case $line in "
        # a host that lost its power may have an empty one, or one of zeros
        "'{'*'\"fingerprint\"'*'}') printf '%s\\n' \"$line\" ;; "
        f"*) ids=$(docker container ls -aq --filter {label} 2>/dev/null); "
        f"echo '@specs'; [ -z \"$ids\" ] || docker container inspect --format {template} $ids ;; "
        "esac"
    )


def parse_known_secrets(sections: dict[str, list[str]]) -> KnownSecrets:
    """The sections as one value."""
    return KnownSecrets(
        text=first(sections.get("fingerprint")),
        digests=secrets_in_labels(sections.get("specs", [])),
    )
