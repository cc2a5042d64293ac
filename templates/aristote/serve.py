"""Serves Aristote's sender, with a database whose errors show no token.

    PYTHONPATH=/app python3 serve.py PORT

SQLAlchemy quotes what a failed statement was given, and uvicorn logs the error: each connection
that PostgreSQL has ended would write the token of a request into the log. Sources:
https://docs.sqlalchemy.org/en/20/core/engines.html (``hide_parameters``),
https://docs.sqlalchemy.org/en/20/core/pooling.html#disconnect-handling-pessimistic
(``pool_pre_ping``: a connection that has ended is replaced before it is used).

``fastapi run``, which upstream's image starts, serves in the same way, and logs each address, with
what clients put there.
"""

from __future__ import annotations

import sys
from functools import partial


def main(port: int) -> None:
    """Serve until a signal comes; one process: another one would make its own engine."""
    import sqlalchemy
    import uvicorn

    sqlalchemy.create_engine = partial(
        sqlalchemy.create_engine, hide_parameters=True, pool_pre_ping=True
    )
    uvicorn.run(
        "src.sender.main:app",
        host="0.0.0.0",  # noqa: S104 - inside the container
        port=port,
        access_log=False,
        workers=1,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
