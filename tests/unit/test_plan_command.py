"""`smartworker windows` and `smartworker simulate`, for a person and for a script."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from freezegun import freeze_time

from smartworker.cli.main import main


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns and no setting of the person who runs the tests."""
    for name in ("WINDOWS", "QUIET_POLL", "TIMEZONE", "MONTHLY_BUDGET"):
        monkeypatch.delenv(f"SMARTWORKER_{name}", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def run(*words: str) -> Result:
    """The command, run in this process."""
    return CliRunner().invoke(main, words)


def facts(*words: str) -> dict[str, Any]:
    """What the command prints as JSON."""
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def lines(*words: str) -> list[str]:
    """What the command prints for a person, without spaces at the ends."""
    result = run(*words)
    assert result.exit_code == 0, result.output
    return [line.rstrip() for line in result.stdout.splitlines()]


def test_windows_answers_for_an_instant() -> None:
    """The contract: four keys first, times with their offset."""
    answer = facts("windows", "--at", "2026-11-01T01:30:00-04:00")
    assert list(answer.items())[:4] == [
        ("window", None),
        ("poll_seconds", 1800),
        ("since", "2026-10-31T23:00:00-04:00"),
        ("until", "2026-11-01T20:00:00-05:00"),
    ]


@freeze_time("2026-11-22 01:00:00")
def test_windows_asks_the_wall_clock() -> None:
    """Without --at it is now: eight in the evening in New York."""
    answer = facts("windows")
    assert (answer["window"], answer["poll_seconds"]) == ("20:00-23:00", 30)
    assert answer["at"] == answer["since"] == "2026-11-21T20:00:00-05:00"


def test_a_plan_that_never_changes_has_no_bounds() -> None:
    """JSON says null, the person is told."""
    words = ("windows", "--windows", "0:00-24:00=1m", "--at", "2026-11-21T12:00Z")
    answer = facts(*words)
    assert (answer["since"], answer["until"]) == (None, None)
    assert lines(*words)[-1] == "Nothing ever changes."


def test_windows_for_a_person() -> None:
    """Now, the plan, and what comes, in local time."""
    assert lines("windows", "--at", "2026-10-31T22:15:30-04:00") == [
        "Now     Sat 31 Oct 2026 22:15 EDT   America/New_York",
        "Poll    every 30s                   window 20:00-23:00 is open",
        "Since   Sat 31 Oct 2026 20:00 EDT",
        "Until   Sat 31 Oct 2026 23:00 EDT   in 44m30s",
        "",
        "Window        Poll",
        "───────────────────────",
        "20:00-23:00   every 30s",
        "otherwise     every 30m",
        "",
        "Next changes                Poll        Because",
        "──────────────────────────────────────────────────────────────────",
        "Sat 31 Oct 2026 23:00 EDT   every 30m   no window is open",
        "Sun 01 Nov 2026 20:00 EST   every 30s   window 20:00-23:00 is open",
        "Sun 01 Nov 2026 23:00 EST   every 30m   no window is open",
        "Mon 02 Nov 2026 20:00 EST   every 30s   window 20:00-23:00 is open",
        "Mon 02 Nov 2026 23:00 EST   every 30m   no window is open",
        "Tue 03 Nov 2026 20:00 EST   every 30s   window 20:00-23:00 is open",
    ]


@pytest.mark.parametrize(
    ("day", "polls"),
    [("2026-11-21", 402), ("2026-03-08", 400), ("2026-11-01", 404)],
)
def test_simulate_counts_a_day(day: str, polls: int) -> None:
    """The contract: polls and commands first, and what the row of it costs."""
    answer = facts("simulate", "--from", day, "--days", "1")
    assert list(answer.items())[:2] == [("polls", polls), ("commands", polls + 10)]
    assert answer["row"] == 10
    assert facts("simulate", "--from", day, "--running")["row"] == 8
    assert len(answer["hours"]) == 24
    assert sum(answer["hours"]) == polls


@freeze_time("2026-11-22 03:00:00")
def test_simulate_begins_today_in_the_zone() -> None:
    """In New York it is still the 21st."""
    answer = facts("simulate")
    assert answer["from"] == "2026-11-21T00:00:00-05:00"
    assert answer["until"] == "2026-11-22T00:00:00-05:00"


def test_simulate_takes_a_calendar_month() -> None:
    """November has 30 days and one hour more."""
    answer = facts("simulate", "--month", "2026-11")
    assert answer["polls"] == 12_062
    assert answer["until"] == "2026-12-01T00:00:00-05:00"
    assert answer["budget_share"] == 0.024608


def test_workers_poll_each_and_tasks_come_daily() -> None:
    """Two workers, ten tasks a day, two days."""
    answer = facts(
        *("simulate", "--from", "2026-11-21", "--days", "2"),
        *("--workers", "2", "--tasks", "10"),
    )
    assert (answer["polls"], answer["tasks"]) == (1608, 20)
    # Each task with a lease of its own, each worker with two days of its row.
    assert answer["row"] == 2 * (2 + 2 * 8)
    assert answer["commands"] == 1608 + 80 + 60 + 36


def test_simulate_for_a_person() -> None:
    """The windows, the strip of the day with its legend, and the budget."""
    assert lines("simulate", "--from", "2026-11-01", "--tasks", "10") == [
        "Sun 01 Nov 2026, 25 hours in America/New_York",
        "",
        "Window        Poll               Open   Commands",
        "────────────────────────────────────────────────",
        "20:00-23:00   every 30s            3h        360",
        "otherwise     every 30m           22h         44",
        "its row       each 90 commands                12",
        "10 tasks      4 each                          40",
        "leases        while busy                      30",
        "",
        "total                                        486",
        "",
        "00    03    06    09    12    15    18    21    24",
        "░░▒▒░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░██████░░",
        "░ 1   ▒ 2   █ 60 polls per half hour",
        "",
        "486 commands are 0.10 % of the month's 500,000, or $0.0010 pay as you go.",
        "30 days at this rate: 13,941 commands, 2.8 %.",
        "Each start of a worker adds at most 15.",
    ]


def test_a_plan_over_the_budget_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A month is not extrapolated; means have one digit."""
    monkeypatch.setenv("SMARTWORKER_MONTHLY_BUDGET", "10000")
    found = lines("simulate", "--month", "2026-11", "--workers", "2")
    assert found[0] == (
        "Sun 01 Nov 2026 to Mon 30 Nov 2026, 721 hours in America/New_York"
    )
    assert found[1] == "2 workers, each polls by itself"
    assert "░ 2 to 2.1   █ 120 polls per half hour, on average" in found
    assert found[-1] == "This is over the monthly budget."
    assert not any(line.startswith("30 days") for line in found)


def test_a_missing_hour_is_a_gap_in_the_strip() -> None:
    """And one even plan has one level."""
    found = lines("simulate", "--from", "2026-03-08", "--windows", "0:00-24:00=1m")
    assert "░░░░  " + 42 * "░" in found
    assert "░ 30 polls per half hour" in found


def test_a_terminal_without_blocks_gets_letters() -> None:
    """The strip and the tables are plain ASCII then."""
    runner = CliRunner(charset="ascii")
    result = runner.invoke(main, ["simulate", "--from", "2026-11-21"])
    assert result.exit_code == 0
    assert f"\n{40 * '.'}######..\n. 1   # 60 polls" in result.stdout
    assert result.stdout.isascii()


def test_what_if_options_go_before_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another plan is asked for without changing a setting."""
    monkeypatch.setenv("SMARTWORKER_WINDOWS", "1:00-2:00=10s")
    answer = facts(
        *("simulate", "--from", "2026-11-21", "--windows", "9:00-10:00=1m"),
        *("--quiet-poll", "1h", "--timezone", "Europe/Berlin"),
    )
    assert answer["polls"] == 60 + 23
    assert answer["timezone"] == "Europe/Berlin"
    assert facts("simulate", "--from", "2026-11-21")["polls"] == 360 + 46


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("windows --at yesterday", "'yesterday' is not an instant: write 2026-11-01T"),
        ("windows --at 2026-11-01T01:30", "has no offset from UTC: add one, such as"),
        ("windows --at 2040-01-01T00:00Z", "allowed is 1970 to 2037"),
        ("windows --windows 25:00-26:00=30s", "'25:00' is not a time of day"),
        ("windows --windows 1:00-2:00=25h", "allowed is 1s to 24h"),
        ("windows --quiet-poll 0s", "'0s' is no time at all: write a poll from 1s"),
        ("windows --quiet-poll 25h", "allowed is 1s to 24h"),
        ("windows --timezone Berln", "did you mean Europe/Berlin?"),
        ("simulate --from tomorrow", "'tomorrow' is not a day: write 2026-11-01."),
        ("simulate --from 1812-01-01", "allowed is 1970 to 2037"),
        ("simulate --month 2026-13", "is not a month from 1970 to 2037: write"),
        ("simulate --month 2026-11 --days 3", "--month goes without --from and --da"),
        ("simulate --days 0", "0 is not in the range 1<=x<=366"),
        ("simulate --workers none", "'none' is not a valid integer"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_2(words: str, sentence: str) -> None:
    """The option is named, and what it allows."""
    result = run(*words.split())
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.output


def test_a_wrong_environment_is_one_sentence_and_exit_78(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The variable is named."""
    monkeypatch.setenv("SMARTWORKER_WINDOWS", "20:00-20:00=30s")
    result = run("simulate")
    assert result.exit_code == 78
    assert result.stderr.startswith("smartworker: SMARTWORKER_WINDOWS is ")
    assert "ends where it starts" in result.stderr


def test_piped_output_has_no_colours() -> None:
    """No escape codes, and nothing wider than the terminal."""
    for words in (("windows",), ("simulate", "--month", "2026-11", "--tasks", "9")):
        output = run(*words).stdout
        assert "\x1b" not in output
        assert max(map(len, output.splitlines())) <= 80


def test_a_job_each_minute_is_priced() -> None:
    """By its schedule in the zone, ten commands a run with a second worker's look."""
    answer = facts(
        *("simulate", "--from", "2026-11-01", "--workers", "2"),
        *("--job", "sync=* * * * *", "--job", "30 21 * * *"),
    )
    sync, evening = answer["jobs"]
    assert (sync["name"], sync["runs"], sync["each"]) == ("sync", 25 * 60, 10)
    assert (evening["name"], evening["runs"], evening["each"]) == ("30 21 * * *", 1, 11)
    jobs = sync["commands"] + evening["commands"]
    assert answer["row"] == pytest.approx((2 * 404 + jobs) / 89, rel=0.1)
    assert answer["commands"] == 2 * 404 + jobs + answer["row"]


def test_what_if_is_compared_with_the_present_plan() -> None:
    """In 30 days; without another plan there is nothing to compare."""
    month = ("simulate", "--month", "2026-11")
    present = facts(*month)
    assert present["month_difference"] is None
    two = facts(*month, "--workers", "2")
    assert two["present_month_commands"] == present["month_commands"]
    assert two["month_difference"] == pytest.approx(present["month_commands"], abs=1)
    assert lines(*month, "--workers", "2")[-2] == (
        "In 30 days that is +12,287 against the present plan's 12,287."
    )
    wider = facts(*month, "--quiet-poll", "1h")
    assert wider["month_difference"] < 0


def test_a_doorbell_that_producers_ring_costs_one_more_each() -> None:
    """Each task and each run of a job is announced with a PUBLISH."""
    words = ("simulate", "--from", "2026-11-21", "--tasks", "10", "--job", "0 9 * * *")
    silent, ringing = facts(*words), facts(*words, "--doorbell", "publish")
    assert ringing["row"] == silent["row"]
    assert ringing["commands"] - silent["commands"] == 10 + 1
    assert ringing["jobs"][0]["each"] == silent["jobs"][0]["each"] + 1


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        ("* * * *", "has 4 fields"),
        ("sync=61 * * * *", "is no schedule that ever comes"),
        ("=0 9 * * *", "has no name"),
    ],
)
def test_a_job_that_never_comes_is_a_sentence(job: str, sentence: str) -> None:
    """Exit status 2, before anything is counted."""
    result = run("simulate", "--job", job)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
