"""How people log in to Open WebUI: its own accounts, a provider of the site, a directory.

Variables: https://docs.openwebui.com/reference/env-configuration/, and in the source of 0.12.4
``config.py``, ``env.py``, ``utils/oauth.py`` and ``routers/auths.py``, which say what follows from
them.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from deploy.services.context import ServiceContext
from deploy.services.host_files import ConfigFile
from deploy.spec import LdapSpec, OidcSpec, SecretText, WebUISpec
from deploy.spec.ldap import LDAP_BIND_PASSWORD
from deploy.spec.oidc import OIDC_CLIENT_SECRET, SEPARATOR

CONFIG = PurePosixPath("/etc/atelier")
CALLBACK = "/oauth/oidc/callback"
"""Where a provider sends people back to; what is entered there."""
SESSION_HOURS = 7 * 24
"""How long a login with an account of the site lasts unless it is declared."""
Environment = dict[str, str | SecretText]


def login_environment(context: ServiceContext, spec: WebUISpec, address: str) -> Environment:
    """Variables for everything about logins.

    Args:
        context: the deployment.
        spec: the web UI as declared.
        address: what people type to get to it.
    """
    hours = spec.session_hours or (SESSION_HOURS if spec.has_site_logins else None)
    is_restricted = spec.oidc is not None and spec.oidc.is_restricted
    found: Environment = {
        "ENABLE_SIGNUP": "false",
        # who comes without the claim that says whether they may is not let in
        "DEFAULT_USER_ROLE": "pending" if is_restricted else "user",
    }
    if hours:
        found["JWT_EXPIRES_IN"] = f"{hours}h"
    if address.startswith("https://"):
        found |= {"WEBUI_SESSION_COOKIE_SECURE": "true", "WEBUI_AUTH_COOKIE_SECURE": "true"}
    if not spec.login_form:
        found["ENABLE_LOGIN_FORM"] = "false"
    if spec.oidc:
        found |= _oidc(spec.oidc, address) | _claims(spec.oidc) | _trusted(context)
    if spec.ldap:
        found |= _ldap(context, spec.ldap)
    return found


def login_files(context: ServiceContext) -> dict[str, ConfigFile]:
    """What proves providers that systems do not know."""
    return {
        _authorities(kind).name: ConfigFile(content=text)
        for kind, text in context.login_authorities.items()
    }


def _authorities(kind: str) -> PurePosixPath:
    return CONFIG / f"{kind}.pem"


def _oidc(oidc: OidcSpec, address: str) -> Environment:
    return {
        # what an administrator changes in the browser would win over a redeployment
        "ENABLE_OAUTH_PERSISTENT_CONFIG": "false",
        # an account is made at somebody's first login
        "ENABLE_OAUTH_SIGNUP": "true",
        "OAUTH_MERGE_ACCOUNTS_BY_EMAIL": str(oidc.merge_accounts_by_email).lower(),
        "OAUTH_CLIENT_ID": oidc.client_id,
        "OAUTH_CLIENT_SECRET": SecretText.of(OIDC_CLIENT_SECRET),
        "OAUTH_CODE_CHALLENGE_METHOD": "S256",
        "OPENID_PROVIDER_URL": oidc.discovery_url,
        # else it takes the address that a request came to, which may be one of several
        "OPENID_REDIRECT_URI": f"{address}{CALLBACK}",
        "OAUTH_PROVIDER_NAME": oidc.label,
        "OAUTH_SCOPES": " ".join(oidc.scopes),
        "OAUTH_EMAIL_CLAIM": oidc.email_claim,
        "OAUTH_USERNAME_CLAIM": oidc.name_claim,
        "OAUTH_UPDATE_NAME_ON_LOGIN": "true",
        # else the router would not know who has another address than at their first login
        "OAUTH_UPDATE_EMAIL_ON_LOGIN": "true",
        # else it fetches pictures from wherever a claim says
        "OAUTH_PICTURE_CLAIM": "",
        # with many groups in it, browsers would drop this cookie or the entry refuse requests; the
        # database has the token for when somebody logs out
        "ENABLE_OAUTH_ID_TOKEN_COOKIE": "false",
        "WEBUI_AUTH_SIGNOUT_REDIRECT_URL": f"{address}/auth",
    }


def _claims(oidc: OidcSpec) -> Environment:
    """Who may log in and who administers: one claim, compared with names.

    Open WebUI calls them roles, and splits both lists and a claim that is no list at a comma
    unless it is told another separator.
    """
    claim = oidc.roles_claim if oidc.is_by_role else oidc.groups_claim
    allowed = oidc.allowed_roles or oidc.allowed_groups
    admins = oidc.admin_roles or oidc.admin_groups
    if not (allowed or admins):
        return {"ENABLE_OAUTH_ROLE_MANAGEMENT": "false"}
    return {
        "ENABLE_OAUTH_ROLE_MANAGEMENT": "true",
        "OAUTH_ROLES_SEPARATOR": SEPARATOR,
        "OAUTH_ROLES_CLAIM": claim,
        "OAUTH_ALLOWED_ROLES": SEPARATOR.join(allowed) or "*",
        # unless it is set, whoever has a role called admin is one
        "OAUTH_ADMIN_ROLES": SEPARATOR.join(admins),
    }


def _trusted(context: ServiceContext) -> Environment:
    """The provider is asked with httpx at a login, and with aiohttp when somebody logs out.

    https://www.python-httpx.org/advanced/ssl/#ssl_cert_file
    """
    if "oidc" not in context.login_authorities:
        return {}
    path = str(_authorities("oidc"))
    return {"SSL_CERT_FILE": path, "AIOHTTP_CLIENT_SSL_CERT_FILE": path}


def _ldap(context: ServiceContext, ldap: LdapSpec) -> Environment:
    has_authorities = "ldap" in context.login_authorities
    found: Environment = {
        "ENABLE_LDAP": "true",
        "LDAP_SERVER_LABEL": ldap.label,
        "LDAP_SERVER_HOST": ldap.host,
        "LDAP_SERVER_PORT": str(ldap.port),
        # TLS from the start: it never asks for StartTLS
        "LDAP_USE_TLS": str(ldap.has_tls).lower(),
        "LDAP_VALIDATE_CERT": "true",
        "LDAP_CA_CERT_FILE": str(_authorities("ldap")) if has_authorities else "",
        "LDAP_APP_DN": ldap.bind_dn or "",
        "LDAP_SEARCH_BASE": ldap.search_base,
        "LDAP_SEARCH_FILTER": ldap.search_filter,
        "LDAP_ATTRIBUTE_FOR_USERNAME": ldap.username_attribute,
        "LDAP_ATTRIBUTE_FOR_MAIL": ldap.email_attribute,
    }
    if ldap.bind_password:
        found["LDAP_APP_PASSWORD"] = SecretText.of(LDAP_BIND_PASSWORD)
    return found
