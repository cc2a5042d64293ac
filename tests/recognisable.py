"""Secrets that a test finds again wherever they leak to."""

from __future__ import annotations

from pathlib import Path

import yaml

from deploy.spec import SecretName

SECRETS = {
    SecretName.ROUTER_MASTER_KEY: "sk-leaked-router-master",
    SecretName.ENGINE_API_KEY: "sk-leaked-engine-api",
    SecretName.WEB_UI_SECRET_KEY: "leaked-web-ui-secret",
    SecretName.WEB_UI_ADMIN_PASSWORD: "leaked-admin-password",
    SecretName.DIGEST_KEY: "sk-leaked-digest-key",
}
LEAK = "leaked"


def write_secrets(path: Path) -> None:
    """Put them where generated secrets are kept."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({str(name): value for name, value in SECRETS.items()}))
