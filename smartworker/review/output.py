"""The report for programs."""

import msgspec

from smartworker.review.report import Report

#: Raised when a field changes its meaning or goes.
VERSION = 1


def as_json(report: Report) -> str:
    """One JSON object; instants in ISO 8601 and UTC, durations in seconds."""
    plain = {"version": VERSION, **msgspec.to_builtins(report)}
    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode()
