"""The first line of the page: all is well, or what needs attention."""

from typing import Any

#: Parts of the budget at which a person should know.
NEARLY = 0.85

Finding = dict[str, str]


def verdict(shown: dict[str, Any]) -> dict[str, Any]:
    """What needs attention, the worst first, each with the section that tells more."""
    found = [*_server(shown), *_workers(shown), *_jobs(shown), *_rest(shown)]
    return {
        "findings": found,
        "notes": _notes(shown),
        "sure": shown["known"],
        "summary": _summary(shown) if shown["known"] else "",
    }


def _summary(shown: dict[str, Any]) -> str:
    """What happens next, in a sentence."""
    due = [job for job in shown["jobs"] if job["next"] and not job["paused"]]
    if not due:
        return ""
    first = min(due, key=lambda job: job["next"].iso)
    return f"{first['name']} is next, at {first['next'].text}."


def _server(shown: dict[str, Any]) -> list[Finding]:
    if not shown["error"]:
        return []
    since = shown["at"]
    what = f"what stands here is from {since.text}" if since else "nothing is known yet"
    return [_finding(f"Redis does not answer; {what}", "now")]


def _workers(shown: dict[str, Any]) -> list[Finding]:
    found = []
    workers = shown["workers"]
    if not workers and shown["known"]:
        found.append(_finding("No worker is running", "workers"))
    silent = [each["name"] for each in workers if each["silent"]]
    if silent:
        found.append(_finding(f"No answer from {_some(silent)}", "workers"))
    away = [each for each in workers if each["broker"] != "ok" and not each["silent"]]
    if away:
        names = _some([each["name"] for each in away])
        found.append(_finding(f"Redis is away for {names}", "workers"))
    return found


def _jobs(shown: dict[str, Any]) -> list[Finding]:
    return [
        _finding(f"{state.capitalize()}: {_some(names)}", "jobs")
        for state in ("missed", "failed", "late")
        if (names := [job["name"] for job in shown["jobs"] if job["state"] == state])
    ]


def _rest(shown: dict[str, Any]) -> list[Finding]:
    found = []
    letters, budget = len(shown["letters"]), shown["budget"]
    if letters:
        many = "1 dead letter" if letters == 1 else f"{letters} dead letters"
        if shown["more_letters"]:
            many = f"More than {many}"
        found.append(_finding(many, "dead"))
    forecast = budget["forecast"]
    if budget["share"] >= 1:
        found.append(_finding("The budget of the month is used up", "budget"))
    elif forecast is not None and forecast > budget["limit"]:
        found.append(_finding("The budget will not last the month", "budget"))
    elif budget["share"] >= NEARLY:
        percent = f"{budget['share']:.0%}"
        found.append(_finding(f"{percent} of the budget is used", "budget"))
    return found


def _notes(shown: dict[str, Any]) -> list[Finding]:
    paused = [job["name"] for job in shown["jobs"] if job["paused"]]
    return [_finding(f"Paused: {_some(paused)}", "jobs")] if paused else []


def _finding(text: str, section: str) -> Finding:
    return {"text": text, "section": section}


def _some(names: list[str]) -> str:
    """One name, or the first and how many more."""
    first = names[0]
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"
