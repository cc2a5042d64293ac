"""The web UI: chat in a browser."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ByteSize, Field, field_validator

from deploy.spec.base import MemoryLimit, refusal
from deploy.spec.endpoint import EndpointSpec
from deploy.units import GIB

WebUIKind = Literal["open_webui"]


class WebUISpec(EndpointSpec):
    """How people chat in a browser."""

    own_variables: ClassVar[dict[str, str]] = {
        "OPENAI_API_KEYS": "secrets={'router_master_key': Secret(...)}",
        "WEBUI_SECRET_KEY": "secrets={'web_ui_secret_key': Secret(...)}",
        "WEBUI_ADMIN_PASSWORD": "secrets={'web_ui_admin_password': Secret(...)}",
        "WEBUI_ADMIN_EMAIL": "admin_email",
        "OPENAI_API_BASE_URLS": "",
        "DATABASE_URL": "postgres=Postgres(web_ui_database_url=Secret(...))",
    }

    kind: WebUIKind = "open_webui"
    """Which web UI."""
    host: str | None = None
    """Name of the host that it runs on; the router's by default."""
    port: int = Field(default=3000, ge=1, le=65535)
    """Port on the host."""
    memory_limit: MemoryLimit = ByteSize(2 * GIB)
    """Memory limit of the container, e.g. ``2GiB``."""
    title: str = "Atelier"
    """Name shown in the browser."""
    url: str | None = None
    """The address that people type, where a proxy stands in front; by default host and port."""
    admin_email: str = "admin@atelier.local"
    """Login of the first administrator."""

    @field_validator("admin_email")
    @classmethod
    def _email_has_a_domain(cls, email: str) -> str:
        local, _, domain = email.partition("@")
        if not local or "." not in domain:
            raise refusal(repr(email), "an e-mail address such as admin@lab.example")
        return email

    @field_validator("url")
    @classmethod
    def _url_is_absolute(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise refusal(repr(url), "an address that starts with http:// or https://")
        return url.rstrip("/") if url else url
