"""An outage is said once when it begins and once when it ends."""

import logging
from typing import Any

import pytest

from smartworker.backoff import pauses
from smartworker.broker.outage import Outage


def make() -> Outage:
    """An outage that began at second 1000."""
    return Outage(1000.0, ConnectionError("reset by peer"), pauses(spread=0.0))


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """What was logged, as dictionaries."""
    caplog.set_level(logging.INFO)
    return lambda: [record.msg for record in caplog.records]


def test_the_first_try_heals_in_silence(lines: Any) -> None:
    """An endpoint that closed an idle connection is no news."""
    make().over(1000.1, 0)
    assert lines() == []


def test_healing_that_found_messages_is_said(lines: Any) -> None:
    """Messages read back are told even if the first try succeeded."""
    make().over(1000.5, 3)
    (line,) = lines()
    assert line["event"] == "broker_back"
    assert line["read_back"] == 3
    assert line["attempts"] == 1
    assert line["away_seconds"] == 0.5


def test_the_loss_is_said_once(lines: Any) -> None:
    """Ten failed tries: one line, with the error and the first pause."""
    outage = make()
    found = [outage.failed(OSError("refused")) for _ in range(10)]
    assert found == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0, 30.0]
    (line,) = lines()
    assert line["event"] == "broker_lost"
    assert line["level"] == "warning"
    assert line["error"] == "OSError: refused"
    assert line["retry_seconds"] == 1.0
    assert outage.attempts == 10
    assert str(outage.error) == "refused"


def test_the_end_is_said_once_with_its_length(lines: Any) -> None:
    """How long it took and how many tries, the successful one included."""
    outage = make()
    outage.failed(OSError("refused"))
    outage.failed(OSError("refused"))
    outage.over(1003.04, 0)
    _, line = lines()
    assert line["event"] == "broker_back"
    assert line["level"] == "info"
    assert line["away_seconds"] == 3.0
    assert line["attempts"] == 3
    assert line["read_back"] == 0


def test_a_long_error_is_cut(lines: Any) -> None:
    """A page of HTML from a proxy does not fill the log."""
    make().failed(OSError("x" * 10_000))
    assert len(lines()[0]["error"]) == 200
