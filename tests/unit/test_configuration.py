"""The user's Celery configuration always wins; ours fills what it leaves open."""

import ssl
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

import smartworker
from smartworker.cron.registry import Jobs
from smartworker.settings import Settings
from smartworker.worker.configuration import (
    complete,
    defaults,
    usual_time_limits,
)
from smartworker.worker.declared import jobs_of

OURS = "redis://ours.example:6379/0"
THEIRS = "redis://theirs.example:6379/1"
SECURE = "rediss://ours.example:6379/0"

#: Every one differs from our default and from Celery's own.
CHOSEN: dict[str, Any] = {
    "task_acks_late": False,
    "task_time_limit": 7,
    "accept_content": ["json", "yaml"],
    "result_expires": 11,
    "broker_url": THEIRS,
    "result_backend": "redis://results.example:6379/2",
}
OLD_NAMES = {
    "task_acks_late": "CELERY_ACKS_LATE",
    "task_time_limit": "CELERYD_TASK_TIME_LIMIT",
    "accept_content": "CELERY_ACCEPT_CONTENT",
    "result_expires": "CELERY_TASK_RESULT_EXPIRES",
    "broker_url": "BROKER_URL",
    "result_backend": "CELERY_RESULT_BACKEND",
}

Configure = Callable[[Any], None]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery reads these two before any configuration."""
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def app() -> Iterator[Any]:
    """A Celery app that is not the current one."""
    made = Celery("test", set_as_current=False)
    yield made
    made.close()


def settings(**values: Any) -> Settings:
    """Ours, with a URL that no test connects to."""
    return Settings(**{"redis_url": OURS, **values})


def module(names: dict[str, Any]) -> Any:
    """A module such as `celeryconfig`."""
    made = types.ModuleType("celeryconfig")
    vars(made).update(names)
    return made


def by_module(app: Any) -> None:
    """A module object with new names."""
    app.config_from_object(module(CHOSEN))


def by_dict(app: Any) -> None:
    """A dictionary."""
    app.config_from_object(dict(CHOSEN))


def by_namespace(app: Any) -> None:
    """As in Django: upper-case names behind a prefix."""
    names = {f"CELERY_{name.upper()}": value for name, value in CHOSEN.items()}
    app.config_from_object(module(names), namespace="CELERY")


def by_old_names(app: Any) -> None:
    """As before Celery 4: upper-case names."""
    app.config_from_object(
        module({OLD_NAMES[name]: value for name, value in CHOSEN.items()})
    )


def by_attributes(app: Any) -> None:
    """One assignment after another."""
    for name, value in CHOSEN.items():
        setattr(app.conf, name, value)


def by_update(app: Any) -> None:
    """All at once."""
    app.conf.update(CHOSEN)


WAYS = (by_module, by_dict, by_namespace, by_old_names, by_attributes, by_update)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("configure", WAYS)
def test_the_users_value_wins(app: Any, configure: Configure, before: bool) -> None:
    """However it is said, and whether before `setup` or after it."""
    if before:
        configure(app)
    smartworker.setup(app, settings(result_url=OURS))
    if not before:
        configure(app)
    assert {name: app.conf[name] for name in CHOSEN} == CHOSEN
    assert app.conf.task_acks_late is False
    assert app.connection_for_read().hostname == "theirs.example"


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("configure", WAYS)
def test_it_wins_after_the_configuration_was_read(
    app: Any, configure: Configure, before: bool
) -> None:
    """A look at `app.conf` loads it; what comes later is heard all the same."""
    assert app.conf.task_acks_late is False
    if before:
        by_dict(app)
        assert app.conf.task_time_limit == 7
    smartworker.setup(app, settings(result_url=OURS))
    assert app.conf.task_reject_on_worker_lost is True
    if not before:
        if configure in (by_attributes, by_update):
            configure(app)
        else:
            app.config_from_object(dict(CHOSEN), force=True)
    assert {name: app.conf[name] for name in CHOSEN} == CHOSEN


@pytest.mark.parametrize("configure", [by_module, by_dict, by_namespace, by_old_names])
@pytest.mark.parametrize("name", CHOSEN)
def test_each_alone_wins_before_setup(
    app: Any, configure: Configure, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One value of the user's among all of ours."""
    monkeypatch.setitem(globals(), "CHOSEN", {name: CHOSEN[name]})
    configure(app)
    smartworker.setup(app, settings())
    assert app.conf[name] == CHOSEN[name]
    left = {n: v for n, v in defaults(settings()).items() if n != name}
    assert {n: app.conf[n] for n in left} == left


@pytest.mark.parametrize("read", [True, False], ids=["read before", "read after"])
def test_what_the_user_leaves_open_is_ours(app: Any, read: bool) -> None:
    """Every one of our defaults is there, whenever the configuration is read."""
    if read:
        assert app.conf.task_acks_late is False
    smartworker.setup(app, settings())
    expected = defaults(settings())
    assert {name: app.conf[name] for name in expected} == expected
    assert app.conf.task_acks_late is True
    assert app.conf.accept_content == ["json"]
    assert app.conf.result_expires == 3600
    assert app.conf.broker_url == OURS
    assert app.conf.result_backend == OURS


def test_no_default_of_ours_is_none() -> None:
    """Without URLs of our own there is nothing to say of URLs."""
    ours = defaults(Settings())
    assert None not in ours.values()
    assert not {"broker_url", "result_backend"} & set(ours)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_without_a_url_of_ours_celerys_stand(app: Any, before: bool) -> None:
    """No None of ours hides what the user, or Celery, has."""
    if before:
        app.conf.broker_url = THEIRS
    smartworker.setup(app, Settings())
    if not before:
        app.conf.update(broker_url=THEIRS, result_backend=THEIRS)
    assert app.conf.broker_url == THEIRS
    assert app.conf.result_backend == THEIRS


@pytest.mark.parametrize("read", [True, False])
def test_the_apps_own_arguments_win(read: bool) -> None:
    """`Celery(broker=..., backend=...)` is the user's word too."""
    app = Celery("test", broker=THEIRS, backend=f"{THEIRS}0", set_as_current=False)
    if read:
        assert app.conf.broker_url == THEIRS
    smartworker.setup(app, settings(result_url=OURS))
    assert app.conf.broker_url == THEIRS
    assert app.conf.result_backend == f"{THEIRS}0"
    assert app.connection_for_write().hostname == "theirs.example"
    app.close()


# -- results -----------------------------------------------------------------------


def test_results_follow_the_apps_broker() -> None:
    """Only a broker is named: results go where messages go."""
    app = Celery("test", broker=THEIRS, set_as_current=False)
    smartworker.setup(app, settings())
    assert app.conf.result_backend == THEIRS
    app.close()


@pytest.mark.parametrize("configure", [by_module, by_dict, by_namespace, by_old_names])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_results_follow_the_configured_broker(
    app: Any, configure: Configure, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker of the configuration, not the one of REDIS_URL."""
    monkeypatch.setitem(globals(), "CHOSEN", {"broker_url": THEIRS})
    if before:
        configure(app)
    smartworker.setup(app, settings())
    if not before:
        configure(app)
    assert (app.conf.broker_url, app.conf.result_backend) == (THEIRS, THEIRS)


def test_a_url_of_ours_for_results_stands(app: Any) -> None:
    """SMARTWORKER_RESULT_URL does not follow anybody."""
    app.conf.broker_url = THEIRS
    smartworker.setup(app, settings(result_url=OURS))
    assert app.conf.result_backend == OURS


def test_results_do_not_follow_a_foreign_broker(app: Any) -> None:
    """RabbitMQ keeps no results of ours."""
    app.config_from_object({"broker_url": "amqp://guest@rabbit.example//"})
    smartworker.setup(app, settings())
    assert app.conf.result_backend is None


# -- the transport's options -------------------------------------------------------


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_transport_options_are_merged(app: Any, before: bool) -> None:
    """The user's keys stay, and SMARTWORKER_DOORBELL is among them."""
    mine = {"global_keyprefix": "mine:", "max_deliveries": 2}
    if before:
        app.config_from_object({"broker_transport_options": mine})
    smartworker.setup(app, settings(doorbell="publish"))
    if not before:
        app.config_from_object({"broker_transport_options": mine})
    assert app.conf.broker_transport_options == {
        "doorbell": "publish",
        "tls_ca": None,
        "tls_verify": True,
        **mine,
    }
    assert mine == {"global_keyprefix": "mine:", "max_deliveries": 2}


def test_the_users_doorbell_wins(app: Any) -> None:
    """Said in Celery's own place it is more special than the environment."""
    app.conf.broker_transport_options = {"doorbell": "off"}
    smartworker.setup(app, settings(doorbell="publish"))
    assert app.conf.broker_transport_options["doorbell"] == "off"


# -- TLS ---------------------------------------------------------------------------


@pytest.mark.parametrize("read", [True, False])
def test_tls_is_verified(app: Any, read: bool, tmp_path: Path) -> None:
    """`rediss://` checks certificate and name, for messages and for results."""
    authority = tmp_path / "ca.pem"
    authority.touch()
    if read:
        assert not app.conf.broker_use_ssl
    smartworker.setup(app, settings(redis_url=SECURE, tls_ca=authority))
    expected = {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_check_hostname": True,
        "ssl_ca_certs": str(authority),
    }
    assert app.conf.broker_use_ssl == expected
    assert app.conf.redis_backend_use_ssl == expected
    assert app.conf.broker_transport_options["tls_ca"] == str(authority)


def test_the_users_tls_options_stay(app: Any) -> None:
    """Options of the user's own are not mixed with ours."""
    mine = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/mine.pem"}
    app.conf.update(broker_use_ssl=mine, redis_backend_use_ssl=mine)
    smartworker.setup(app, settings(redis_url=SECURE))
    assert app.conf.broker_use_ssl == mine
    assert app.conf.redis_backend_use_ssl == mine


def test_without_tls_there_are_no_options(app: Any) -> None:
    """redis-py would refuse them on a plain connection."""
    smartworker.setup(app, settings())
    assert not app.conf.broker_use_ssl
    assert not app.conf.redis_backend_use_ssl


# -- again -------------------------------------------------------------------------


@pytest.mark.parametrize("read", [True, False])
def test_setup_twice_is_once(app: Any, read: bool) -> None:
    """The second call changes nothing, not even with other settings."""
    smartworker.setup(app, settings(doorbell="publish"))
    if read:
        assert app.conf.task_acks_late is True
    steps = {name: set(found) for name, found in app.steps.items()}
    assert smartworker.setup(app, settings(redis_url=THEIRS, doorbell="off")) is app
    assert app.conf.broker_url == OURS
    assert app.conf.broker_transport_options["doorbell"] == "publish"
    assert app.steps == steps
    layers = len(app.conf.maps)
    complete(app)
    assert len(app.conf.maps) == layers
    assert app.conf.broker_url == OURS


def test_a_forced_configuration_keeps_our_defaults(app: Any) -> None:
    """`config_from_object(force=True)` builds everything anew, ours included."""
    smartworker.setup(app, settings(doorbell="publish"))
    assert app.conf.result_expires == 3600
    app.config_from_object({"result_expires": 7}, force=True)
    assert app.conf.result_expires == 7
    left = {n: v for n, v in defaults(settings()).items() if n != "result_expires"}
    assert {n: app.conf[n] for n in left} == left
    assert app.conf.result_backend == OURS
    assert app.conf.broker_transport_options["doorbell"] == "publish"


@pytest.mark.parametrize(
    ("chosen", "usual"),
    [
        ({}, (1800, 1500)),
        ({"task_time_limit": 60}, (None, None)),
        ({"task_soft_time_limit": 60}, (None, None)),
        ({"task_time_limit": None}, (None, None)),
    ],
)
def test_time_limits_are_ours_where_nobody_says_any(
    app: Any, chosen: dict[str, Any], usual: tuple[int | None, int | None]
) -> None:
    """A soft one of ours would hold back a shorter hard one; None is a choice, too."""
    smartworker.setup(app, settings())
    app.conf.update(chosen)
    assert usual_time_limits(app.conf) == usual


def test_a_value_taken_back_is_ours_again(app: Any) -> None:
    """Our layer stands behind what the user changes at run time."""
    smartworker.setup(app, settings())
    app.conf.task_acks_late = False
    assert "task_acks_late" in app.conf.changes
    assert app.conf.table(with_defaults=False)["task_acks_late"] is False
    del app.conf["task_acks_late"]
    assert app.conf.task_acks_late is True


def test_nothing_warns(app: Any) -> None:
    """No word of kombu's about certificates, none of Celery's about names."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        smartworker.setup(app, settings(redis_url=SECURE))
        assert app.connection_for_read().hostname == "ours.example"


def test_jobs_that_are_declared_later_are_not_lost() -> None:
    """An empty table is the application's own, too."""
    jobs = Jobs()
    app = smartworker.setup(Celery("later", set_as_current=False), Settings(), jobs)
    jobs.declare("nightly", "tasks.nightly")
    assert [job.name for job in jobs_of(app)] == ["nightly"]
