"""An outage is said once when it begins and once when it ends."""

import logging
from typing import Any

import pytest

from smartworker.broker.outage import Outage
from smartworker.store.client import ResponseError


def make() -> Outage:
    """An outage that began at second 1000."""
    return Outage(1000.0, ConnectionError("reset by peer"), 30.0)


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
    found = [outage.failed(OSError("refused"), 1000.0 + n) for n in range(10)]
    expected = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0, 30.0]
    assert found == [pytest.approx(pause, rel=0.2) for pause in expected]
    (line,) = lines()
    assert line["event"] == "broker_lost"
    assert line["level"] == "warning"
    assert line["error"] == "OSError: refused"
    assert line["kind"] == "lost"
    assert line["retry_seconds"] == pytest.approx(found[0], abs=0.1)
    assert outage.attempts == 10
    assert str(outage.error) == "refused"


def test_the_end_is_said_once_with_its_length(lines: Any) -> None:
    """How long it took and how many tries, the successful one included."""
    outage = make()
    outage.failed(OSError("refused"), 1000.0)
    outage.failed(OSError("refused"), 1000.0)
    outage.over(1003.04, 0)
    _, line = lines()
    assert line["event"] == "broker_back"
    assert line["level"] == "info"
    assert line["away_seconds"] == 3.0
    assert line["attempts"] == 3
    assert line["read_back"] == 0


def test_a_long_error_is_cut(lines: Any) -> None:
    """A page of HTML from a proxy does not fill the log."""
    make().failed(OSError("x" * 10_000), 1000.0)
    assert len(lines()[0]["error"]) == 200


def test_another_kind_of_trouble_is_said_anew(lines: Any) -> None:
    """The server comes back and says that the quota is used up: other pauses."""
    outage = make()
    outage.failed(OSError("refused"), 1000.0)
    quota = ResponseError("max requests limit exceeded. Limit: 500000")
    found = [outage.failed(quota, 1001.0 + n) for n in range(3)]
    assert found == [pytest.approx(30.0, rel=0.2)] * 3
    first, second = lines()
    assert (first["kind"], second["kind"]) == ("lost", "quota")
    assert "Upstash" in second["advice"]


def test_an_error_nobody_expected_is_said_once_a_minute(lines: Any) -> None:
    """Two hundred tries in ten minutes: ten lines, the first of them the beginning."""
    outage = Outage(1000.0, ResponseError("x"), 30.0)
    for second in range(0, 600, 3):
        outage.failed(ResponseError("x"), 1000.0 + second)
    assert [line["event"] for line in lines()] == [
        "broker_lost",
        *["broker_still_lost"] * 9,
    ]
