"""Signing in to Open WebUI, and what it says of a wrong password.

Written after ``signin`` in ``open_webui/routers/auths.py`` of 0.12.4: of a wrong password, and of
an address that it does not know, it says HTTP 400 with a sentence of its own. The same status, 403
and 429 have other causes: a header that is missing, passwords that are switched off, many tries.
"""

from __future__ import annotations

import httpx

from deploy.errors import Problem, ServiceError
from deploy.live.http import Base, RefusedError, TooManyError, post

SIGN_IN = "/api/v1/auths/signin"
WRONG = "password provided is incorrect"
"""Part of the sentence: ``ERROR_MESSAGES.INVALID_CRED`` in ``open_webui/constants.py``."""


LIMITED = "rate limit exceeded"
"""Part of another one, ``RATE_LIMIT_EXCEEDED``: 15 logins of an address in 3 minutes."""


class WrongPasswordError(ServiceError):
    """The web UI says that the address or the password is wrong."""


class TooManyLoginsError(ServiceError):
    """The web UI has had so many logins that it does not look at another one."""


def sign_in(base: Base, email: str, password: str) -> str:
    """A token for the web UI's API.

    Args:
        base: address of the web UI.
        email: who signs in.
        password: of that person.

    Raises:
        WrongPasswordError: if the web UI says so, and only then.
        TooManyLoginsError: the same.
        ServiceError: if it gives no token for another reason, or does not answer.
    """
    try:
        answer = post(base, SIGN_IN, "", {"email": email, "password": password})
        return str(answer["token"])
    except RefusedError as error:
        kind = WrongPasswordError if WRONG in str(error) else ServiceError
        raise kind(*error.problems) from None
    except TooManyError as error:
        found = "refuses so many logins (15 times in 3 minutes)"
        fix = "wait three minutes, then try again"
        own = TooManyLoginsError if LIMITED in str(error) else ServiceError
        raise own(*error.problems, Problem("web UI", found, fix=fix)) from None
    except httpx.HTTPError as error:
        found = f"does not answer: {type(error).__name__}"
        fix = "see what `atelier status` says of it"
        raise ServiceError(Problem(SIGN_IN, found, fix=fix)) from None
    except (LookupError, TypeError, ValueError) as error:
        found = f"not an answer of Open WebUI ({type(error).__name__}: {error})"
        raise ServiceError(Problem(SIGN_IN, found, "a token")) from None
