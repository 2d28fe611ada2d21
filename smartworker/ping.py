"""Addresses of pings: a service in the manner of healthchecks hears how runs go."""

from typing import Literal
from urllib.parse import quote, urlencode, urlsplit, urlunsplit
from uuid import NAMESPACE_URL, UUID, uuid5

#: What a ping tells: the run began, it ended well, it failed.
Signal = Literal["start", "success", "fail"]
#: Stands in an address for the name of the job.
JOB = "{job}"
#: The value of a job's `ping` with which nobody hears of its runs.
OFF = "off"
SCHEMES = ("http", "https")


def check_ping(url: str) -> str:
    """The address itself. Raises ValueError for one that cannot be pinged.

    The address never stands in the error: who knows it can ping.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("a ping address starts with https:// or http:// and a host")
    if {"{", "}"}.intersection(url.replace(JOB, "")):
        raise ValueError(f"a ping address has no other braces than {JOB}")
    return url


def address(url: str, signal: Signal, task_id: str) -> str:
    """Where to ping: `url` with the signal at the end of its path.

    The task id pairs the start of a run with its end.
    """
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if signal != "success":
        path += f"/{signal}"
    query = "&".join(filter(None, (parts.query, urlencode({"rid": rid(task_id)}))))
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def of_job(setting: str | None, own: str | None, job: str) -> str | None:
    """The address of a job's pings: its own, or the one of all with its name in it.

    None: nobody wants to hear of its runs.
    """
    if own == OFF:
        return None
    # The name may come from a message of another release.
    job, url = quote(job, safe=""), own or setting
    if url is None or own is not None or JOB in url:
        return url and url.replace(JOB, job)
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{job}"))


def secrets_of(url: str | None) -> list[str]:
    """What must not be shown of an address: itself, and what all jobs have of it."""
    return [url, url.partition(JOB)[0]] if url else []


def rid(task_id: str) -> str:
    """The task id as a UUID, which it is unless somebody chose it."""
    try:
        return str(UUID(task_id))
    except ValueError:
        return str(uuid5(NAMESPACE_URL, task_id))
