"""The web UI: chat in a browser."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ByteSize, Field, field_validator, model_validator

from deploy.spec.addresses import read_url
from deploy.spec.base import Line, MemoryLimit, refusal
from deploy.spec.endpoint import EndpointSpec
from deploy.spec.ldap import LdapSpec
from deploy.spec.oidc import OidcSpec
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
        "PYTHONPATH": "",
        "DATABASE_URL": "postgres=Postgres(web_ui_database_url=Secret(...))",
        "ENABLE_FORWARD_USER_INFO_HEADERS": "",
        "FORWARD_USER_INFO_HEADER_USER_EMAIL": "",
        "FORWARD_USER_INFO_HEADER_JWT_SECRET": "",
        # its settings are here alone
        "ENABLE_PERSISTENT_CONFIG": "",
        "ENABLE_OAUTH_PERSISTENT_CONFIG": "",
        "WEBUI_AUTH": "",
        # what it believes of whoever reaches its port
        "WEBUI_AUTH_TRUSTED_EMAIL_HEADER": "",
        "DEFAULT_USER_ROLE": "oidc=Oidc(allowed_groups=[...])",
        "JWT_EXPIRES_IN": "session_hours",
        "ENABLE_LOGIN_FORM": "login_form",
        "OAUTH_CLIENT_ID": "oidc=Oidc(...)",
        "OAUTH_CLIENT_SECRET": "oidc=Oidc(...)",
        "OPENID_PROVIDER_URL": "oidc=Oidc(...)",
        "OPENID_REDIRECT_URI": "",
        "OAUTH_MERGE_ACCOUNTS_BY_EMAIL": "oidc=Oidc(merge_accounts_by_email=True)",
        "ENABLE_OAUTH_ROLE_MANAGEMENT": "oidc=Oidc(admin_groups=[...])",
        "ENABLE_LDAP": "ldap=Ldap(...)",
        "LDAP_APP_PASSWORD": "ldap=Ldap(...)",
        "REDIS_URL": "valkey=Valkey(...)",
        "WEBSOCKET_REDIS_URL": "valkey=Valkey(...)",
    }

    kind: WebUIKind = "open_webui"
    """Which web UI."""
    host: str | None = None
    """Name of the host that it runs on; the router's by default."""
    port: int = Field(default=3000, ge=1, le=65535)
    """Port on the host; of several web UIs, the first one's. An entry reaches them without it."""
    replicas: int = Field(default=1, ge=1, le=8)
    """How many of it run, on one host; several are changed one after the other."""
    drain_seconds: int = Field(default=60, ge=0, le=7200)
    """How long answers that have begun may go on before one of several is replaced; meanwhile the
    entry sends people to the others. While somebody has a page open, it waits that long."""
    memory_limit: MemoryLimit = ByteSize(2 * GIB)
    """Memory limit of the container, e.g. ``2GiB``."""
    title: Line | None = None
    """Name shown in the browser, before Open WebUI's own in parentheses; Atelier by default, and
    Open WebUI's own alone above 50 people, where its licence asks for that."""
    url: str | None = None
    """The address that people type, where a proxy stands in front; by default host and port."""
    admin_email: str = "admin@atelier.local"
    """Login of the first administrator."""
    people_only: bool = False
    """Whether only people with a key, known by their e-mail address, and the first administrator
    are answered; otherwise people without a key are answered without limits."""

    oidc: OidcSpec | None = None
    """Where people log in with the account that they have: Keycloak, Authentik, Entra ID and
    others that speak OpenID Connect."""
    ldap: LdapSpec | None = None
    """A directory whose names and passwords people log in with."""
    login_form: bool = True
    """Whether names and passwords are asked for; without it ``oidc`` alone is offered, and the
    first administrator logs in at ``/auth?form=1``."""
    session_hours: int | None = Field(default=None, ge=1, le=8760)
    """How long a login lasts; 4 weeks by default, 7 days with ``oidc`` or ``ldap``. Somebody whose
    account there has ended stays logged in for that long."""

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
        if url is not None and not read_url(url, "http", "https"):
            raise refusal(
                repr(url), "http:// or https://, and a host, e.g. 'https://ai.lab.example'"
            )
        return url.rstrip("/") if url else url

    @model_validator(mode="after")
    def _someone_can_log_in(self) -> WebUISpec:
        if not self.login_form and (self.ldap or not self.oidc):
            found = "ldap, which asks for a name and a password" if self.ldap else "no oidc"
            raise refusal(
                f"login_form=False and {found}",
                "login_form=True, or oidc alone",
                "remove login_form",
            )
        return self

    @model_validator(mode="after")
    def _newcomers_have_one_role(self) -> WebUISpec:
        if self.ldap and self.oidc and self.oidc.is_restricted:
            raise refusal(
                "ldap, and oidc where not everybody may log in",
                "one of them, or oidc without allowed_groups and allowed_roles",
                "let people of the directory log in at the provider, too: until an administrator"
                " lets them in, the web UI would let no one in who comes by ldap",
            )
        return self

    @property
    def has_site_logins(self) -> bool:
        """Whether people log in with an account that they have elsewhere."""
        return self.oidc is not None or self.ldap is not None
