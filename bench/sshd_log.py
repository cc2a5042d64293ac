"""Remote commands, counted where they arrive: every one is a session in sshd's log."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.hosts import Host

SETTINGS = "LogLevel VERBOSE\nMaxStartups 100\nMaxSessions 100\n"
SESSION = "Starting session:"
LOGIN = "Accepted publickey"


class SshdLog:
    """The log of a host's sshd."""

    def __init__(self, host: Host) -> None:
        self._host = host
        host.run("cat >/etc/ssh/sshd_config.d/bench.conf && systemctl restart ssh", SETTINGS)

    def start(self) -> Callable[[], tuple[int, int]]:
        """Begin to count; what is returned tells connections and commands since then."""
        before = self._total()

        def counted() -> tuple[int, int]:
            logins, sessions = self._total()
            return logins - before[0], sessions - before[1]

        return counted

    def _total(self) -> tuple[int, int]:
        text = self._host.run("journalctl --sync; journalctl -u ssh -o cat --no-pager")
        return text.count(LOGIN), text.count(SESSION)
