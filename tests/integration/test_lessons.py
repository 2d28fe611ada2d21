"""The marketplace on a real database and a real mail server; no worker."""

import re
import smtplib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from mailbox import Maildir
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from celery import Celery

from smartworker.errors import SettingsError
from smartworker.examples.lessons import (
    accounts,
    booking,
    office,
    pages,
    tasks,
    words,
)
from smartworker.examples.lessons.booking import NoSuchThing, Refused
from smartworker.examples.lessons.database import Database
from smartworker.examples.lessons.post import LetterRefused, Post
from smartworker.examples.lessons.rules import HOUR, Status, bounds, day_of
from smartworker.examples.lessons.seeds import PASSWORD, seed
from smartworker.examples.lessons.tables import letters, notices, people, sessions
from smartworker.examples.lessons.words import Kind

NOW = 1_800_000_000
DAY = 24 * HOUR
ANN, BOB = 3, 4
PIANO, GUITAR = 1, 2
#: When the piano lesson begins.
LESSON = NOW + 20 * HOUR


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """People and lessons, and nothing booked."""
    made = Database(f"sqlite:///{tmp_path / 'lessons.sqlite3'}")
    with made.transaction() as rows:
        seed(rows, NOW)
    return made


@contextmanager
def mail_server(directory: Path, *options: str) -> Iterator[str]:
    """The example's mail server as a process; its address."""
    module = "smartworker.examples.lessons.mail_server"
    line = ["--port", "0", "--directory", str(directory), *options]
    with subprocess.Popen(
        [sys.executable, "-m", module, *line],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def book(database: Database, student: int = ANN, lesson: int = PIANO) -> int:
    """A booking that was answered; its number."""
    with database.transaction() as rows:
        number = booking.request(rows, lesson, student, NOW)
        booking.settle(rows, number, NOW)
    return number


def status(database: Database, number: int) -> Status:
    """Where a booking stands."""
    with database.transaction() as rows:
        return booking.find(rows, number).status


def test_a_request_is_answered_once(database: Database) -> None:
    """A task that runs again finds the answer, also when the lesson has filled."""
    number = book(database, lesson=GUITAR)
    assert status(database, book(database, BOB, GUITAR)) is Status.DECLINED
    with database.transaction() as rows:
        assert booking.settle(rows, number, NOW + 99 * DAY) is Status.CONFIRMED
        rows_of = {row["lesson_id"]: row for row in pages.lessons_to_come(rows, NOW)}
    assert rows_of[GUITAR]["free"] == 0


def test_a_second_place_is_declined(database: Database) -> None:
    """One student, one lesson, one place; after a cancellation again."""
    first = book(database)
    assert status(database, book(database)) is Status.DECLINED
    with database.transaction() as rows:
        booking.cancel(rows, first, ANN, NOW)
    assert status(database, book(database)) is Status.CONFIRMED


def test_one_cannot_touch_the_bookings_of_others(database: Database) -> None:
    """They are not there, as far as one can see."""
    number = book(database)
    for act in (booking.cancel, booking.check_in):
        with database.transaction() as rows, pytest.raises(NoSuchThing):
            act(rows, number, BOB, LESSON)
    with database.transaction() as rows, pytest.raises(NoSuchThing):
        booking.request(rows, 99, ANN, NOW)


def test_who_is_there_is_no_no_show(database: Database) -> None:
    """Checked in: attended; the others are missed 15 minutes after the end."""
    there, away = book(database), book(database, BOB)
    with database.transaction() as rows:
        with pytest.raises(Refused):
            booking.check_in(rows, there, ANN, NOW)
        booking.check_in(rows, there, ANN, LESSON)
        end = LESSON + HOUR + HOUR // 4
        assert booking.missed(rows, end - 1) == []
        assert booking.missed(rows, end) == [away]
        assert booking.missed(rows, end + DAY) == []
    assert status(database, there) is Status.ATTENDED
    assert status(database, away) is Status.NO_SHOW


def test_one_is_reminded_once(database: Database) -> None:
    """Within 24 hours of the lesson, of confirmed bookings alone."""
    near, far = book(database), book(database, lesson=GUITAR)
    with database.transaction() as rows:
        assert booking.to_remind(rows, NOW) == [near]
        assert booking.to_remind(rows, NOW + HOUR) == []
        assert booking.to_remind(rows, NOW + 48 * HOUR) == [far]


def test_what_a_task_does_twice_is_there_once(database: Database) -> None:
    """Notices and figures have a key each."""
    number = book(database)
    with database.transaction() as rows:
        assert [office.tell(rows, Kind.CONFIRMED, number, NOW) for _ in "ab"] == [2, 0]
        assert [office.count(rows, Kind.CONFIRMED, number, NOW) for _ in "ab"] == [1, 0]
        made = office.compute_figures(rows, day_of(NOW), NOW)
        assert made["counts"] == {"confirmed": 1, "letters": 0}
        assert made["revenue_cents"] == 4500
        assert office.compute_figures(rows, day_of(NOW), NOW + 1) == made
        other = office.compute_figures(rows, day_of(bounds(day_of(NOW))[1]), NOW)
        assert other["counts"] == {"letters": 0}


def test_old_notices_go(database: Database) -> None:
    """Read ones after a week, all others after three months."""
    number = book(database)
    with database.transaction() as rows:
        office.tell(rows, Kind.CONFIRMED, number, NOW)
        (mine, *_) = pages.notices_of(rows, ANN)
        assert pages.mark_read(rows, mine["notification_id"], ANN, NOW)
        assert not pages.mark_read(rows, mine["notification_id"], BOB, NOW)
        assert office.drop_notices(rows, NOW + 7 * DAY - 1) == 0
        assert office.drop_notices(rows, NOW + 7 * DAY) == 1
        assert office.drop_notices(rows, NOW + 90 * DAY) == 1
        assert rows.scalar(sa.select(sa.func.count()).select_from(notices)) == 0


def test_sessions_end(database: Database) -> None:
    """After twelve hours nobody is meant by them, and the clean-up forgets them."""
    with database.transaction() as rows:
        assert accounts.log_in(rows, "ann@example.com", "wrong", NOW) is None
        assert accounts.log_in(rows, "eve@example.com", PASSWORD, NOW) is None
        token = accounts.log_in(rows, "ann@example.com", PASSWORD, NOW)
        assert token
        end = NOW + accounts.SESSION_SECONDS
        assert accounts.who(rows, token, end - 1) == ANN
        assert accounts.who(rows, token, end) is None
        assert token not in {row.token for row in rows.execute(sa.select(sessions))}
        assert office.drop_sessions(rows, end - 1) == 0
        assert office.drop_sessions(rows, end) == 1


def test_warming_forgets_what_is_over(database: Database) -> None:
    """The lessons of the next two weeks, no others."""
    with database.transaction() as rows:
        assert office.warm(rows, NOW) == 3
        assert office.warm(rows, LESSON + 1) == 2
        assert office.warm(rows, NOW + 30 * DAY) == 0


def test_health_grows_old(database: Database) -> None:
    """What was well is unknown three minutes after the last check."""
    with database.transaction() as rows:
        assert pages.health_page(rows, NOW)["status"] == "degraded"
        office.note_health(rows, {"worker": "", "mail": ""}, NOW)
        assert pages.health_page(rows, NOW + 180)["status"] == "ok"
        assert pages.health_page(rows, NOW + 181)["status"] == "degraded"
        office.note_health(rows, {"worker": "", "mail": "refused"}, NOW + 200)
        page = pages.health_page(rows, NOW + 200)
    assert page == {"status": "degraded", "parts": {"mail": "refused", "worker": "ok"}}


# -- letters -----------------------------------------------------------------------


@pytest.fixture
def market(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], None]]:
    """The tasks on this database, eager; call it with the mail server's address."""
    monkeypatch.setattr(tasks, "database", lambda: database)
    app = Celery("market", broker="memory://", set_as_current=False)
    app.set_current()
    yield lambda address: monkeypatch.setenv("LESSONS_MAIL_URL", address)
    app.close()


def outcomes(database: Database) -> dict[str, str]:
    """What became of all letters."""
    with database.transaction() as rows:
        found = rows.execute(sa.select(letters.c.key, letters.c.outcome))
        return {row.key: row.outcome for row in found}


def test_a_letter_goes_out_once(
    database: Database, market: Any, tmp_path: Path
) -> None:
    """A whole conversation in SMTP; a task that runs again sends nothing."""
    number = book(database)
    with mail_server(tmp_path / "mail") as address:
        market(address)
        for _ in range(2):
            tasks.send_letter.apply(("confirmed", number), throw=True)
    (letter,) = Maildir(tmp_path / "mail")
    assert letter["To"] == "ann@example.com"
    assert outcomes(database) == {f"confirmed-{number}": "sent"}


def test_a_busy_mail_server_is_tried_again(
    database: Database, market: Any, tmp_path: Path
) -> None:
    """Put off twice, sent the third time."""
    number = book(database)
    with mail_server(tmp_path / "mail", "--busy", "2") as address:
        market(address)
        tasks.send_letter.apply(("confirmed", number), throw=False)
    assert len(Maildir(tmp_path / "mail")) == 1


def test_a_letter_that_nobody_takes_is_noted(
    database: Database, market: Any, tmp_path: Path
) -> None:
    """The server's last word stands in the database; no other try changes it."""
    with database.transaction() as rows:
        ann = people.c.id == ANN
        rows.execute(people.update().where(ann).values(email="nobody@example.com"))
    number = book(database)
    with mail_server(tmp_path / "mail") as address:
        market(address)
        tasks.send_letter.apply(("confirmed", number), throw=True)
    assert outcomes(database) == {
        f"confirmed-{number}": "550 5.1.1 There is no such person here."
    }


def test_a_mail_server_that_is_away_shows_in_the_health(
    database: Database, market: Any, tmp_path: Path
) -> None:
    """The check goes on, and says it."""
    with mail_server(tmp_path / "mail") as address:
        market(address)
        assert tasks.check_health.apply(throw=True).get() == {"worker": "", "mail": ""}
    found = tasks.check_health.apply(throw=True).get()
    assert "refused" in found["mail"]


def test_what_passes_and_what_does_not(database: Database, tmp_path: Path) -> None:
    """5xx is for good, 4xx and a closed port are not."""
    number = book(database)
    with database.transaction() as rows:
        letter = words.letter(Kind.CONFIRMED, booking.find(rows, number), NOW)
    with mail_server(tmp_path / "mail", "--busy", "1") as address:
        with pytest.raises(smtplib.SMTPDataError, match="451"):
            Post(address).send(letter)
        letter.replace_header("To", "nobody@example.com")
        with pytest.raises(LetterRefused, match=r"^550 "):
            Post(address).send(letter)
    with pytest.raises(OSError, match="refused"):
        Post(address).check()


@pytest.mark.parametrize(
    "address", ["", "mail.example.com", "http://host", "smtp://", "smtp://host:x"]
)
def test_a_wrong_address_is_one_sentence(address: str) -> None:
    """The address itself is not shown: it may have a password."""
    with pytest.raises(SettingsError, match=re.escape("smtp://host:port")):
        Post(address)


@pytest.mark.parametrize("url", ["", "lessons.sqlite3", "://"])
def test_a_wrong_database_is_one_sentence(url: str) -> None:
    """With what to write instead."""
    with pytest.raises(SettingsError, match="write sqlite:///"):
        Database(url)
