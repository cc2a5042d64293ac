"""Health commands that cost little: starting Python every few seconds took 5 % of a core."""

from __future__ import annotations

from deploy.plan.addresses import host_and_port
from deploy.services.container import LOOPBACK

TIMEOUT_SECONDS = 4


def http_check(
    port: int, path: str, address: str = LOOPBACK, *, seconds: int = TIMEOUT_SECONDS
) -> str:
    """A shell command that succeeds when ``path`` of a port answers with 200.

    It uses what the image has: curl, else bash, which opens connections itself, else Python. None
    of them asks a proxy that the container may have been given.

    Args:
        port: port in the container, or of the host.
        path: absolute path.
        address: address that it listens on.
        seconds: how long an answer may take.
    """
    curl = f"curl -fsS --noproxy '*' -m {seconds} -o /dev/null"
    place = host_and_port(address, port)
    request = f"GET {path} HTTP/1.0\\r\\nHost: {place}\\r\\n\\r\\n"
    bash = (
        f'exec 3<>/dev/tcp/{address}/{port} && printf "{request}" >&3'
        f' && read -r -t {seconds} _ status _ <&3 && [ "$status" = 200 ]'
    )
    return (
        f"if command -v curl >/dev/null; then {curl} http://{place}{path};"
        f" elif command -v bash >/dev/null; then bash -c '{bash}';"
        f" else no_proxy='*' {_http_get(port, path, address, seconds)}; fi"
    )


def _http_get(port: int, path: str, address: str, seconds: int) -> str:
    """The same for images that have Python, but neither curl nor bash."""
    url = f"http://{host_and_port(address, port)}{path}"
    code = f"import urllib.request as request; request.urlopen('{url}', timeout={seconds})"
    return f'python3 -c "{code}"'
