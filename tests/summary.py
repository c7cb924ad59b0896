"""Figures that a test found, printed with the summary of the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Summary = Callable[[str], None]
PROPERTY = "summary"


def print_all(reporter: pytest.TerminalReporter) -> None:
    """One line for each figure of each test that passed."""
    lines = [
        text
        for report in reporter.getreports("passed")
        for name, text in report.user_properties
        if name == PROPERTY
    ]
    if lines:
        reporter.section("figures")
        for line in sorted(lines):
            reporter.write_line(line)
