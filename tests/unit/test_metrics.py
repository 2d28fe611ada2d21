"""The table of metrics, and what is counted for it."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from smartworker.exposition import Page
from smartworker.metrics import (
    CELERY,
    COMMON,
    METRICS,
    WEB,
    WORKER,
    Distribution,
    Readings,
    info,
    known_jobs,
)
from smartworker.store.meter import Counts
from smartworker.worker.counts import (
    MOST_ERRORS,
    OTHER_ERROR,
    TaskCounts,
    error_of,
)
from smartworker.worker.readings import commands

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
NOON = datetime(2026, 11, 21, 17, tzinfo=UTC)
#: celery-exporter's, which has no unit in its name.
THEIRS = {"celery_task_runtime"}
UNITS = ("_seconds", "_ratio")


def everything() -> Readings:
    """A value for each metric, with labels that have to be escaped."""
    return {
        name: {
            tuple(f'{label} "\\\n' for label in metric.labels): Distribution((1, 5))
            if metric.kind == "histogram"
            else 1
        }
        for name, metric in METRICS.items()
    }


def test_the_page_is_what_prometheus_reads() -> None:
    """Both forms name each metric of the table with its kind and labels."""
    page = Page(everything)
    body, kind = page.render()
    assert kind.startswith("text/plain; version=0.0.4")
    newer, newer_kind = page.render("application/openmetrics-text; version=1.0.0")
    assert newer_kind.startswith("application/openmetrics-text; version=1.0.0")
    for families in (
        list(text_string_to_metric_families(body.decode())),
        list(parse_openmetrics(newer.decode())),
    ):
        kinds = {family.name: family.type for family in families}
        assert kinds == {
            name.removesuffix("_total"): metric.kind for name, metric in METRICS.items()
        }
        for family in families:
            metric = METRICS.get(family.name) or METRICS[family.name + "_total"]
            assert family.documentation == metric.meaning
            for sample in family.samples:
                labels = {*sample.labels} - {"le"}
                assert labels == {*metric.labels}
                assert all(
                    sample.labels[each] == f'{each} "\\\n' for each in metric.labels
                )


def test_names_follow_the_rules() -> None:
    """Counters end with _total and nothing else does; base units; known prefixes."""
    assert len(METRICS) == len([*CELERY, *COMMON, *WORKER, *WEB])
    for name, metric in METRICS.items():
        assert re.fullmatch(r"(celery|smartworker)_[a-z_]+", name)
        assert (metric.kind == "counter") == name.endswith("_total")
        assert name.startswith("celery_") == (metric in CELERY)
        if metric.kind == "histogram" and name not in THEIRS:
            assert name.endswith(UNITS)
        assert not re.search("_(ms|minutes|hours|percent|count|sum|bucket)$", name)
        assert metric.meaning.endswith(".")
        assert not {"le", "quantile", "job_name", "instance"} & {*metric.labels}


def test_the_documentation_has_the_table() -> None:
    """Each metric with its labels and its meaning, and no other."""
    rows = re.findall(
        r"^\| `([a-z_]+)(?:\{([a-z_,]*)\})?` \| (.*) \|$",
        DOCS.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    documented = {name: (labels, meaning) for name, labels, meaning in rows}
    assert documented == {
        name: (",".join(each.labels), each.meaning) for name, each in METRICS.items()
    }


def test_the_examples_of_the_documentation_are_true() -> None:
    """They are YAML, and their rules name metrics that exist."""
    blocks = re.findall(
        "```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL
    )
    scrape, rules = (yaml.safe_load(block) for block in blocks)
    assert {each["job_name"] for each in scrape["scrape_configs"]} == {
        "smartworker",
        "smartworker-web",
    }
    for rule in rules["groups"][0]["rules"]:
        named = re.findall(r"smartworker_\w+", rule["expr"])
        assert named
        assert {*named} <= {*METRICS}


@pytest.mark.parametrize(
    ("value", "at_most"),
    [(0.0, [1, 1, 1]), (1.0, [1, 1, 1]), (1.1, [0, 1, 1]), (9.0, [0, 0, 1])],
)
def test_a_bound_belongs_to_its_bucket(value: float, at_most: list[int]) -> None:
    """As Prometheus has it: less than the bound, or equal."""
    spread = Distribution((1, 5))
    spread.observe(value)
    assert [count for _, count in spread.cumulative()] == at_most
    assert [bound for bound, _ in spread.cumulative()] == ["1.0", "5.0", "+Inf"]
    assert spread.sum == value


def test_jobs_that_are_not_declared_are_one() -> None:
    """A message may name any job: labels stay few."""
    counts = {("nightly", "failed"): 2, ("a", "failed"): 3, ("b", "failed"): 4}
    assert known_jobs(counts, ["nightly"]) == {
        ("nightly", "failed"): 2,
        ("", "failed"): 7,
    }


def test_errors_that_are_told_apart_are_few() -> None:
    """A program may make up classes without end."""
    counts = TaskCounts()
    for number in range(MOST_ERRORS + 5):
        counts.failed(("add", "celery"), f"Error{number}")
    counts.failed(("add", "celery"), "Error0")
    failures = counts.failures()
    assert len(failures) == MOST_ERRORS + 1
    assert failures["add", OTHER_ERROR, "celery"] == 5
    assert failures["add", "Error0", "celery"] == 2


def test_errors_have_the_names_of_their_classes() -> None:
    """Also those that a pool process had to wrap, and the hard limit's words."""
    wrapped = Exception()
    wrapped.exc_cls_name = "BookingRefused"  # type: ignore[attr-defined]
    assert error_of(wrapped) == "BookingRefused"
    assert error_of(KeyError("x")) == "KeyError"
    assert error_of("the hard time limit of 3 s is over") == "TimeLimitExceeded"
    assert error_of(None) == OTHER_ERROR


def test_the_ledger_is_shown_by_cause_and_command() -> None:
    """What is not billed stands apart."""
    counts = Counts({("poll", "exists"): 3, ("boot", "ping"): 1})
    assert commands(counts) == {
        "smartworker_redis_commands_total": {("poll", "exists"): 3},
        "smartworker_redis_unbilled_commands_total": {("boot", "ping"): 1},
    }


def test_a_copy_is_read_while_others_count() -> None:
    """What was read once does not change any more."""
    counts = TaskCounts()
    counts.succeeded(("add", "celery"), 2.0, "nightly", NOON)
    before = counts.runtimes()["add", "celery"]
    counts.succeeded(("add", "celery"), 2.0, "", NOON)
    assert before.sum == 2.0
    assert counts.runtimes()["add", "celery"].sum == 4.0
    assert counts.events("succeeded") == {("add", "celery"): 2}
    assert counts.succeeded_at() == {"nightly": NOON.timestamp()}


def test_the_release_is_told() -> None:
    """Which version runs, and which half of it."""
    ((release, kind),) = info("web")["smartworker_info"]
    assert re.fullmatch(r"\d+\.\d+.*", release)
    assert kind == "web"
