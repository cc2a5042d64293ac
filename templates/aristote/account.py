"""Gives the deployment's own account the master key, in Aristote's table of users.

    PYTHONPATH=/app python3 account.py

It runs in the sender's container, before the sender. Aristote's own command takes a token as an
argument, which everybody on the host could read; here it stays in the environment.

    ATELIER_ACCOUNT     name, organization, priority, threshold and default_routing_mode, as JSON
    ATELIER_MASTER_KEY  the token
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def keep(session: Any, user: Any, wanted: dict[str, Any], token: str) -> bool:
    """Have a row with these values; say whether it was written.

    Args:
        session: of SQLAlchemy, open.
        user: Aristote's class of users.
        wanted: columns and their values; ``name`` says which row.
        token: the account's token.
    """
    values = {**wanted, "token": token, "email": None, "client_type": None}
    row = session.query(user).filter_by(name=wanted["name"]).first()
    if row is None:
        session.add(user(**values))
    elif all(getattr(row, name) == value for name, value in values.items()):
        return False
    else:
        for name, value in values.items():
            setattr(row, name, value)
    session.commit()
    return True


def main() -> int:
    """Write the account down; an error is not quoted, which may hold the token."""
    from src.sender.db import Database
    from src.sender.entities import User
    from src.sender.settings import Settings

    wanted = json.loads(os.environ["ATELIER_ACCOUNT"])
    try:
        with Database(Settings()).get_session() as session:
            written = keep(session, User, wanted, os.environ["ATELIER_MASTER_KEY"])
    except Exception as error:
        sys.stderr.write(f"the account {wanted['name']} cannot be kept: {type(error).__name__}\n")
        return 1
    sys.stdout.write(f"account {wanted['name']}: {'written' if written else 'as it was'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
