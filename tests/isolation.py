"""What tests see of the machine and of whoever runs them: only what they need."""

from __future__ import annotations

import re
from collections.abc import Mapping

KEPT = re.compile(
    r"PATH|TMPDIR|DOCKER_(HOST|CERT_PATH|TLS_VERIFY|BUILDKIT)|(PIP|UV|PYTEST|HYPOTHESIS|E2E)_\w+"
    r"|GOPROXY|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|UPDATE_GOLDEN"
)
"""Variables that say where programs, packages and Docker are, or what to test."""
SET = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "TERM": "dumb", "COLUMNS": "80", "NO_COLOR": "1"}
UMASK = 0o022


def isolated(environment: Mapping[str, str], home: str) -> dict[str, str]:
    """An environment without proxies, language and the user's own configuration files.

    Args:
        environment: the one that tests were started with.
        home: an empty directory in the place of the user's own.
    """
    kept = {name: value for name, value in environment.items() if KEPT.fullmatch(name)}
    return kept | {"HOME": home} | SET
