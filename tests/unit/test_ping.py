"""The addresses of pings."""

from uuid import UUID

import pytest

from smartworker.cron.registry import Jobs
from smartworker.errors import JobError, SettingsError
from smartworker.ping import address, check_ping, of_job, rid, secrets_of
from smartworker.settings import Settings

ID = "5f1e3a52-0c1b-5d0e-9a55-3f7a7f0c2b11"
KEY = "aVerySecretKey123"


@pytest.mark.parametrize(
    ("setting", "own", "found"),
    [
        (None, None, None),
        (f"https://hc/{KEY}/{{job}}", None, f"https://hc/{KEY}/nightly"),
        (f"https://hc/{KEY}", None, f"https://hc/{KEY}/nightly"),
        (f"https://hc/{KEY}/?create=1", None, f"https://hc/{KEY}/nightly?create=1"),
        (f"https://hc/{KEY}", "https://other/uuid", "https://other/uuid"),
        (None, "https://other/{job}", "https://other/nightly"),
        (f"https://hc/{KEY}", "off", None),
    ],
)
def test_each_job_has_its_address(
    setting: str | None, own: str | None, found: str | None
) -> None:
    """The job's own before the one of all, in which its name is."""
    assert of_job(setting, own, "nightly") == found


def test_a_name_cannot_leave_its_place() -> None:
    """Messages may name jobs that no declaration has seen."""
    assert of_job("https://hc/k/{job}", None, "../x?y") == "https://hc/k/..%2Fx%3Fy"
    assert of_job("https://hc/k", None, "a/b") == "https://hc/k/a%2Fb"


def test_the_signal_stands_at_the_end_of_the_path() -> None:
    """Before the query, in which the id pairs start and end."""
    assert address("https://hc/k/j", "success", ID) == f"https://hc/k/j?rid={ID}"
    assert address("https://hc/k/j/", "start", ID) == f"https://hc/k/j/start?rid={ID}"
    assert address("https://hc/k/j?create=1", "fail", ID) == (
        f"https://hc/k/j/fail?create=1&rid={ID}"
    )


def test_every_task_id_becomes_a_uuid() -> None:
    """Always the same one, also where somebody chose the id."""
    assert rid(ID.upper()) == ID
    assert rid("mine") == rid("mine") != rid("yours")
    assert UUID(rid("mine"))


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://{KEY}/x",
        f"//{KEY}",
        KEY,
        f"file:///etc/{KEY}",
        f"https:///{KEY}",
        f"https://h:port/{KEY}",
        f"https://hé/{KEY}",
        f"https://h/{KEY} x",
        f"https://h/{KEY}\r\nX: y",
        f"https://[{KEY}",
        f"https://h/{KEY}/{{jobb}}",
        f"https://h/{KEY}/{{job",
    ],
)
def test_an_address_that_cannot_be_pinged_is_refused(url: str) -> None:
    """In the setting and in a declaration, and it is not shown."""
    sentence = "starts with https://|no other braces than {job}"
    with pytest.raises(ValueError, match=sentence):
        check_ping(url)
    with pytest.raises(SettingsError, match="SMARTWORKER_PING_URL") as refused:
        Settings.from_environment({"SMARTWORKER_PING_URL": url})
    assert KEY not in str(refused.value)
    with pytest.raises(JobError, match="a ping that is not shown") as wrong:
        Jobs().declare("nightly", "shop.add", ping=url)
    assert KEY not in str(wrong.value)


def test_an_address_is_a_secret() -> None:
    """Neither settings nor jobs show it; what all jobs share of it is one, too."""
    url = f"https://hc/{KEY}/{{job}}"
    settings = Settings.from_environment({"SMARTWORKER_PING_URL": url})
    assert settings.ping_url == url
    job = Jobs().declare("nightly", "shop.add", ping=f"https://hc/{KEY}")
    assert KEY not in repr(settings) + repr(job)
    assert secrets_of(url) == [url, f"https://hc/{KEY}/"]
    assert secrets_of(None) == []
    assert Jobs().declare("quiet", "shop.add", ping="off").ping == "off"
