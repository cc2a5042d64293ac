"""Canaille with the people, groups and clients of settings.json next to its certificate.

https://canaille.readthedocs.io
"""

import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

from canaille import create_app
from canaille.app import models
from joserfc.jwk import RSAKey

place = Path(sys.argv[1])
settings = json.loads((place / "settings.json").read_text())
key = RSAKey.generate_key(2048, auto_kid=True)
web_uis = [urlsplit(client["client_uri"]).hostname for client in settings["clients"]]
app = create_app(
    {
        "SECRET_KEY": settings["secret"],
        "SERVER_NAME": settings["address"],
        "PREFERRED_URL_SCHEME": "https",
        "CANAILLE": {
            "DATABASE": "memory",
            "NAME": "Example Lab",
            "ENABLE_PASSWORD_RECOVERY": False,
        },
        "CANAILLE_OIDC": {
            "ACTIVE_JWKS": [key.as_dict(private=True)],
            # nobody is asked whether the site's own web UI may know them
            "TRUSTED_DOMAINS": web_uis,
        },
    }
)
with app.app_context(), app.backend.session():
    people = {}
    for name, person in settings["people"].items():
        people[name] = models.User(user_name=name, **person)
        app.backend.save(people[name])
    for name, members in settings["groups"].items():
        group = models.Group(display_name=name, members=[people[member] for member in members])
        app.backend.save(group)
    for client in settings["clients"]:
        app.backend.save(models.Client(**client))
port = int(sys.argv[2])
app.run("0.0.0.0", port, ssl_context=(str(place / "tls.crt"), str(place / "tls.key")))  # noqa: S104
