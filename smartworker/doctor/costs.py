"""Findings that are read off the bill: who else sends commands, and how many."""

from collections.abc import Callable, Iterator

from smartworker.budget import MONTH
from smartworker.doctor.facts import AppFacts, Finding, SpendingFacts, TrafficFacts

#: Commands of 30 days: an idle stock worker, as measured, and stock Flower, which
#: calls all workers each 5 seconds.
STOCK_WORKER = 142_272 * MONTH.days
STOCK_FLOWER = 86_400 // 5 * MONTH.days
#: What workers and web processes of ours send, and no idle stock worker does.
OURS = frozenset(
    [
        "eval",
        "exists",
        "hdel",
        "hget",
        "hgetall",
        "hset",
        "lmove",
        "lrem",
        "time",
        "xadd",
        "xlen",
        "xrevrange",
    ]
)
#: What a stock producer sends for each task, beside LPUSH.
PRODUCERS = frozenset({"subscribe", "unsubscribe"})
NOT_THEIRS = OURS | PRODUCERS
#: Fewer calls in a sample are chance.
FEWEST_CALLS = 5
#: What tells of work in a sample, each once for a task; and the most that one sends,
#: with its trigger, its lease, its events and whoever waits for its result.
WORK = ("lpush", "lrem")
MOST_OF_A_TASK = 20


def find(
    spending: SpendingFacts, traffic: TrafficFacts, app: AppFacts
) -> Iterator[Finding]:
    """All of them."""
    yield from _budget(spending)
    yield from _beat(app)
    yield from _stock_workers(traffic)
    yield from _monitors(traffic)
    yield from _producers(traffic)
    yield from _unexplained(traffic, spending)


def _budget(spending: SpendingFacts) -> Iterator[Finding]:
    foreseen = spending.foreseen
    if foreseen is not None and foreseen > spending.budget:
        yield Finding(
            "warning",
            "budget",
            f"A month of this plan costs {foreseen:,} commands, and may cost"
            f" {spending.budget:,}.",
            "See `smartworker budget`; poll less often, or raise"
            " SMARTWORKER_MONTHLY_BUDGET.",
            foreseen - spending.budget,
        )


def _beat(app: AppFacts) -> Iterator[Finding]:
    if names := app.beat_entries:
        jobs = f"{len(names)} entries" if len(names) > 1 else f"one entry, {names[0]}"
        yield Finding(
            "warning",
            "beat_schedule",
            f"It has {jobs}: Beat must run for it day and night, and runs that fall"
            " due while it is away are lost.",
            "Declare them as jobs; `smartworker cron import` writes them for you.",
        )


def _stock_workers(traffic: TrafficFacts) -> Iterator[Finding]:
    count = traffic.stock_workers
    # Nothing else of Celery's, and nothing of ours, waits by BRPOP all the time.
    popping = traffic.calls.get("brpop", 0)
    if not count and (popping < 2 or 2 * popping < traffic.seconds):
        return
    measured = _monthly(traffic, lambda name: name not in NOT_THEIRS) if popping else 0
    who = (
        f"{count} stock Celery workers wait"
        if count > 1
        else ("A stock Celery worker waits")
    )
    yield Finding(
        "warning",
        "stock workers",
        f"{who} by BRPOP, which is billed each second also when nothing happens.",
        "Call smartworker.setup(app) in its app, or stop it.",
        measured or STOCK_WORKER * max(count, 1),
    )


def _monitors(traffic: TrafficFacts) -> Iterator[Finding]:
    count = traffic.monitors
    if not count:
        return
    who = f"{count} monitors hear" if count > 1 else "A monitor hears"
    calls = _calls_all_workers(traffic)
    yield Finding(
        "warning" if calls else "info",
        "monitors",
        f"{who} Celery's events (Flower, or an exporter): all workers tell of each"
        " task, at 2 or 3 commands.",
        "Stop it while nobody looks; `smartworker flower` calls 60 times less often"
        " than stock Flower.",
        STOCK_FLOWER if calls else None,
    )


def _calls_all_workers(traffic: TrafficFacts) -> bool:
    """Whether it is stock Flower that publishes; workers tell of tasks, too."""
    others = traffic.stock_workers or _tasks(traffic)
    return traffic.calls.get("publish", 0) > 0 and not others


def _tasks(traffic: TrafficFacts) -> int:
    """How many tasks were sent or done while we looked."""
    return max(traffic.calls.get(name, 0) for name in WORK)


def _producers(traffic: TrafficFacts) -> Iterator[Finding]:
    count = traffic.stock_producers
    if count:
        who = f"{count} stock producers are" if count > 1 else "A stock producer is"
        yield Finding(
            "info",
            "stock producers",
            f"{who} connected (Beat, or an app without setup): each task costs a"
            " SUBSCRIBE and an UNSUBSCRIBE more.",
            "Call smartworker.setup(app) there; jobs take the place of Beat.",
            _monthly(traffic, PRODUCERS.__contains__) or None,
        )


def _unexplained(traffic: TrafficFacts, spending: SpendingFacts) -> Iterator[Finding]:
    """Many commands, and nobody of the above who sends them."""
    # Each command has one price: what producers send stands above.
    priced = set(PRODUCERS if traffic.stock_producers else ())
    if traffic.monitors and _calls_all_workers(traffic):
        priced.add("publish")
    calls = {name: n for name, n in traffic.calls.items() if name not in priced}
    count = sum(calls.values())
    known = traffic.stock_workers or traffic.calls.get("brpop", 0) > 1
    monthly = _monthly(traffic, calls.__contains__)
    fewest = FEWEST_CALLS + MOST_OF_A_TASK * _tasks(traffic)
    if known or count < fewest or monthly <= spending.budget:
        return
    most = sorted(calls.items(), key=lambda call: (-call[1], call[0]))[:3]
    names = ", ".join(f"{n} {name.upper()}" for name, n in most)
    yield Finding(
        "info",
        "traffic",
        f"In {traffic.seconds:.0f} s others sent {count} commands ({names}): at this"
        " rate more than a month may cost.",
        "Nothing to do if work is being done now; look again when it is quiet.",
        monthly,
    )


def _monthly(traffic: TrafficFacts, chosen: Callable[[str], bool]) -> int:
    """What the chosen commands of the sample come to in 30 days."""
    if not traffic.seconds:
        return 0
    count = sum(calls for name, calls in traffic.calls.items() if chosen(name))
    return round(count * MONTH.total_seconds() / traffic.seconds)
