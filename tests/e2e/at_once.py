"""Shows failures, and what took long, as they come: an end-to-end run may be stopped early."""

from __future__ import annotations

import pytest

HERE = "tests/e2e/"
LONG_SECONDS = 60


class AtOnce:
    """A plugin of pytest.

    Args:
        terminal: what prints.
    """

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print it; of other tests the summary is enough."""
        if not report.nodeid.startswith(HERE):
            return
        if report.failed:
            self._terminal.write_line(f"{report.nodeid}: {report.when} failed")
            self._terminal.write_line(report.longreprtext)
        elif report.duration > LONG_SECONDS:
            took = f"{report.when} took {report.duration:.0f} s"
            self._terminal.write_line(f"{report.nodeid}: {took}")
