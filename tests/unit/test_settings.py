"""Settings: what is read, and the sentence for each value that is not allowed."""

from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from smartworker.errors import SettingsError
from smartworker.settings import (
    Settings,
    check_url,
    is_local,
    parse_windows,
    password_of,
)

TOKEN = "0123456789abcdef0123456789abcdef"
ANOTHER = TOKEN[::-1]
ADMIN = TOKEN.replace("0", "f")
SIGNING = "whsec_" + "MDEy" * 10
SECRET = "hunter2-hunter2-hunter2"


def read(**environment: str) -> Settings:
    """Settings from these variables alone."""
    return Settings.from_environment(environment)


def refusal(**environment: str) -> str:
    """The sentence with which these variables are refused."""
    with pytest.raises(SettingsError) as caught:
        read(**environment)
    return str(caught.value)


def test_an_empty_environment_has_the_documented_defaults() -> None:
    """Nothing is needed to forecast a plan."""
    settings = read()
    assert settings == Settings()
    unset = (settings.redis_url, settings.result_url, settings.lease)
    assert unset == (None, None, None)
    assert [span.name for span in settings.windows.spans] == ["20:00-23:00"]
    assert str(settings.windows.zone) == "America/New_York"
    assert settings.quiet_poll == timedelta(minutes=30)
    assert (settings.doorbell, settings.log_format) == ("auto", "json")
    assert (settings.max_deliveries, settings.monthly_budget) == (5, 500_000)


def test_everything_is_read(tmp_path: Path) -> None:
    """Each variable reaches its field."""
    authority = tmp_path / "ca.pem"
    authority.touch()
    settings = read(
        REDIS_URL="rediss://default:secret@example.com:6380/0",
        SMARTWORKER_RESULT_URL="redis://localhost:6379/1",
        SMARTWORKER_TIMEZONE="Europe/Berlin",
        SMARTWORKER_WINDOWS="mon-fri 9:00-17:00=1m",
        SMARTWORKER_QUIET_POLL="1h30m",
        SMARTWORKER_LONGEST_QUIET_POLL="4h",
        SMARTWORKER_DOORBELL="Keyspace",
        SMARTWORKER_LEASE="5m",
        SMARTWORKER_MAX_DELIVERIES="3",
        SMARTWORKER_TLS_CA=str(authority),
        SMARTWORKER_TASKS="shop.tasks, mail.tasks",
        SMARTWORKER_CRON_TOKENS=f"{TOKEN},nightly:{ANOTHER}",
        SMARTWORKER_ADMIN_TOKEN=ADMIN,
        SMARTWORKER_WEBHOOK_SECRETS=f"{SIGNING}, nightly:{SIGNING}",
        QSTASH_CURRENT_SIGNING_KEY="sig_current",
        QSTASH_NEXT_SIGNING_KEY="sig_next",
        SMARTWORKER_DASHBOARD="Private",
        SMARTWORKER_TRIGGER_LIMIT="60",
        SMARTWORKER_TRUSTED_PROXIES="10.0.0.1/8, 2001:db8::1",
        SMARTWORKER_MONTHLY_BUDGET="1000",
        SMARTWORKER_LOG_FORMAT="console",
        PORT="80",
        DATABASE_URL="sqlite:///swim.sqlite3",
        SMARTWORKER_STATE_DIR="/run/swim",
        SMARTWORKER_PING_URL="https://hc-ping.com/key/{job}",
        SMARTWORKER_METRICS_PORT="127.0.0.1:9808",
    )
    assert settings.redis_url == "rediss://default:secret@example.com:6380/0"
    assert settings.result_url == "redis://localhost:6379/1"
    assert str(settings.windows.zone) == "Europe/Berlin"
    assert settings.windows.spans[0].name == "mon-fri 09:00-17:00"
    assert settings.quiet_poll == timedelta(minutes=90)
    assert settings.longest_quiet_poll == timedelta(hours=4)
    assert settings.doorbell == "keyspace"
    assert settings.lease == timedelta(minutes=5)
    assert settings.max_deliveries == 3
    assert settings.tls_ca == authority
    assert settings.tasks == ("shop.tasks", "mail.tasks")
    assert settings.cron_tokens == (TOKEN, f"nightly:{ANOTHER}")
    assert settings.admin_token == ADMIN
    assert settings.webhook_secrets == (SIGNING, f"nightly:{SIGNING}")
    assert settings.qstash_current_key == "sig_current"
    assert settings.qstash_next_key == "sig_next"
    assert settings.dashboard == "private"
    assert settings.trigger_limit == 60
    proxies = [str(network) for network in settings.trusted_proxies]
    assert proxies == ["10.0.0.0/8", "2001:db8::1/128"]
    assert settings.monthly_budget == 1000
    assert settings.log_format == "console"
    assert settings.port == 80
    assert settings.metrics_port == ("127.0.0.1", 9808)
    assert read(SMARTWORKER_METRICS_PORT="9808").metrics_port == ("0.0.0.0", 9808)
    assert settings.database_url == "sqlite:///swim.sqlite3"
    assert settings.state_dir == "/run/swim"
    assert settings.ping_url == "https://hc-ping.com/key/{job}"


def test_a_blank_variable_is_an_unset_one() -> None:
    """Dashboards that cannot delete a variable leave it empty."""
    assert (
        read(
            REDIS_URL="",
            SMARTWORKER_WINDOWS=" ",
            SMARTWORKER_TIMEZONE=" ",
            SMARTWORKER_QUIET_POLL="",
        )
        == Settings()
    )


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("SMARTWORKER_WINDOWS", "25:00-26:00=30s", "allowed is 0:00 to 23:59"),
        ("SMARTWORKER_WINDOWS", "20:00-23:00", "write 20:00-23:00=30s"),
        ("SMARTWORKER_WINDOWS", "20:00-23:00=0s", "write a poll from 1s to 24h"),
        ("SMARTWORKER_TIMEZONE", "Europe/Berln", "did you mean Europe/Berlin?"),
        ("SMARTWORKER_QUIET_POLL", "30", "write a duration from 1s to 24h, such as"),
        ("SMARTWORKER_QUIET_POLL", "0s", "write a duration from 1s to 24h, such as"),
        ("SMARTWORKER_QUIET_POLL", "-5m", "write a duration from 1s to 24h, such as"),
        ("SMARTWORKER_DOORBELL", "loud", "allowed is auto, keyspace, publish, off"),
        ("SMARTWORKER_LEASE", "soon", "write a duration of 1s or more, such as 5m"),
        ("SMARTWORKER_MAX_DELIVERIES", "0", "write a whole number from 1 to 1000"),
        ("SMARTWORKER_MAX_DELIVERIES", "five", "write a whole number from 1 to 1000"),
        ("SMARTWORKER_TLS_CA", "/no/such.pem", "name a file that exists"),
        ("SMARTWORKER_MONTHLY_BUDGET", "-1", "write a whole number of commands"),
        ("SMARTWORKER_DASHBOARD", "public", "allowed is guarded, open, private, off"),
        ("SMARTWORKER_TRIGGER_LIMIT", "0", "write a whole number of triggers a minute"),
        ("SMARTWORKER_TRUSTED_PROXIES", "render", "write addresses or networks"),
        ("SMARTWORKER_LOG_FORMAT", "xml", "allowed is json, console"),
        ("PORT", "70000", "write a port number from 0 to 65535"),
        ("SMARTWORKER_METRICS_PORT", "0", "write a port from 1 to 65535"),
        ("SMARTWORKER_METRICS_PORT", "localhost:9808", "or 127.0.0.1:9808"),
        ("SMARTWORKER_METRICS_PORT", ":9808", "or 127.0.0.1:9808"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    name: str, value: str, allowed: str
) -> None:
    """One sentence with the variable, the value, and the way out."""
    sentence = refusal(**{name: value})
    assert name in sentence
    assert repr(value) in sentence
    assert allowed in sentence
    assert sentence.endswith((".", "?"))
    assert "\n" not in sentence


def test_the_longest_quiet_poll_is_no_shorter_than_the_quiet_poll() -> None:
    """The same is allowed, and means that it never widens."""
    same = {"SMARTWORKER_QUIET_POLL": "3h", "SMARTWORKER_LONGEST_QUIET_POLL": "3h"}
    assert read(**same).longest_quiet_poll == timedelta(hours=3)
    assert read(SMARTWORKER_QUIET_POLL="3h").longest_quiet_poll is None
    assert refusal(**(same | {"SMARTWORKER_LONGEST_QUIET_POLL": "2h"})) == (
        "SMARTWORKER_LONGEST_QUIET_POLL is 2h and SMARTWORKER_QUIET_POLL is 3h: the "
        "longest must not be shorter; write the same for both, and quiet polls never "
        "widen."
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("SMARTWORKER_QUIET_POLL", "25h"), ("SMARTWORKER_WINDOWS", "1:00-2:00=2d")],
)
def test_a_poll_of_more_than_a_day_is_refused(name: str, value: str) -> None:
    """An interval has two ends."""
    sentence = refusal(**{name: value})
    assert sentence.startswith(f"{name} asks for a poll every ")
    assert sentence.endswith("allowed is 1s to 24h, such as 30s or 30m.")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("SMARTWORKER_WINDOW", "did you mean SMARTWORKER_WINDOWS?"),
        ("SMARTWORKER_CRON_TOKEN", "did you mean SMARTWORKER_CRON_TOKENS?"),
        ("SMARTWORKER_ADMIN_TOKEN_FIL", "did you mean SMARTWORKER_ADMIN_TOKEN_FILE?"),
        ("SMARTWORKER_XYZZY_QQQQQQQQQQQQQQQQQ", "remove it."),
    ],
)
def test_an_unknown_variable_suggests_the_nearest(name: str, nearest: str) -> None:
    """A misspelled setting does not silently leave the default in place."""
    sentence = refusal(**{name: "1"})
    assert sentence == f"{name} is not a setting of smartworker: {nearest}"


def test_the_variables_of_others_are_left_alone() -> None:
    """Only our own prefix is ours to judge."""
    assert read(PATH="/bin", CELERY_BROKER_URL="amqp://") == Settings()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com", "the REST address does not take Celery"),
        ("amqp://example.com", "must start with redis:// or rediss://; it starts wit"),
        (SECRET, "must start with redis:// or rediss://; it has no scheme."),
        ("redis://", "has no host or port that can be read"),
        (f"redis://:{SECRET}#x@example.com", "percent-encoded, such as %40 for @"),
        (f"redis://:{SECRET}/x@example.com", "percent-encoded"),
        ("redis://u:77/hunter2@example.com", "percent-encoded"),
        ("redis://u:77?hunter2@example.com", "percent-encoded"),
        (f"redis://:{SECRET}@[::1", "percent-encoded"),
        (f"redis://:{SECRET}@example.com:", "has no port that can be read"),
        (f"redis://:{SECRET}@example.com:99999", "has no host or port"),
        (f"redis://:{SECRET}@example.com/main", "names the database 'main'"),
        (f"rediss://:{SECRET}@eu1.upstash.io/3", "Upstash has database 0 alone"),
    ],
)
@pytest.mark.parametrize("name", ["REDIS_URL", "SMARTWORKER_RESULT_URL"])
def test_a_url_that_cannot_work_is_refused_without_being_shown(
    name: str, url: str, reason: str
) -> None:
    """The sentence names the variable and keeps the password."""
    sentence = refusal(**{name: url})
    assert sentence.startswith(f"{name} ")
    assert reason in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "REDIS://localhost:6379/15",
        "redis://:p%40ss@[::1]:6379/0",
        "rediss://default:secret@eu1.upstash.io:6379/0?ssl_cert_reqs=required",
    ],
)
def test_urls_that_work_are_allowed(url: str) -> None:
    """Databases, brackets, options and encoded passwords are fine."""
    check_url("REDIS_URL", url)


def test_the_three_upstash_variables_make_a_verified_url() -> None:
    """The password is percent-encoded, the port has a default."""
    host = "eu1-calm-1.upstash.io"
    settings = read(UPSTASH_REDIS_HOST=host, UPSTASH_REDIS_PASSWORD="a/b@c")
    assert settings.redis_url == f"rediss://default:a%2Fb%40c@{host}:6379/0"
    settings = read(
        UPSTASH_REDIS_HOST=host, UPSTASH_REDIS_PASSWORD="x", UPSTASH_REDIS_PORT="6380"
    )
    assert settings.redis_url == f"rediss://default:x@{host}:6380/0"


def test_a_full_url_goes_before_the_parts() -> None:
    """REDIS_URL wins, also from a file."""
    settings = read(REDIS_URL="redis://localhost", UPSTASH_REDIS_HOST="https://x")
    assert settings.redis_url == "redis://localhost"


@pytest.mark.parametrize(
    ("host", "password", "port", "sentence"),
    [
        (
            "x.upstash.io",
            "",
            "",
            "UPSTASH_REDIS_HOST is set and UPSTASH_REDIS_PASSWORD",
        ),
        (
            "https://x.upstash.io",
            SECRET,
            "",
            "'https://x.upstash.io': it must be a bare",
        ),
        ("x.upstash.io:6379", SECRET, "", "it must be a bare host name"),
        (
            f"redis://:{SECRET}@x",
            SECRET,
            "",
            "UPSTASH_REDIS_HOST is a value that is no",
        ),
        ("x.upstash.io", SECRET, "six", "UPSTASH_REDIS_PORT is 'six': write a port nu"),
        ("x.upstash.io", SECRET, "99999", "UPSTASH_REDIS_PORT is '99999': write a por"),
    ],
)
def test_wrong_upstash_variables_are_named(
    host: str, password: str, port: str, sentence: str
) -> None:
    """Each of the three has its own sentence, and the password is in none."""
    got = refusal(
        UPSTASH_REDIS_HOST=host,
        UPSTASH_REDIS_PASSWORD=password,
        UPSTASH_REDIS_PORT=port,
    )
    assert sentence in got
    assert "hunter2" not in got


@pytest.mark.parametrize(
    ("name", "attribute", "text", "value"),
    [
        ("REDIS_URL", "redis_url", "redis://localhost", "redis://localhost"),
        ("SMARTWORKER_CRON_TOKENS", "cron_tokens", TOKEN, (TOKEN,)),
        ("SMARTWORKER_ADMIN_TOKEN", "admin_token", TOKEN, TOKEN),
        ("DATABASE_URL", "database_url", "sqlite://", "sqlite://"),
    ],
)
def test_a_secret_may_come_from_a_file(
    tmp_path: Path, name: str, attribute: str, text: str, value: object
) -> None:
    """The end of the line in the file is not part of the secret."""
    file = tmp_path / "secret"
    file.write_text(f"{text}\n", encoding="utf-8")
    settings = read(**{f"{name}_FILE": str(file)})
    assert getattr(settings, attribute) == value


def test_the_upstash_password_may_come_from_a_file(tmp_path: Path) -> None:
    """It is a secret like the others."""
    file = tmp_path / "secret"
    file.write_text("s3cret\n", encoding="utf-8")
    settings = read(
        UPSTASH_REDIS_HOST="x.upstash.io", UPSTASH_REDIS_PASSWORD_FILE=str(file)
    )
    assert settings.redis_url == "rediss://default:s3cret@x.upstash.io:6379/0"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A missing file, a file of bytes, and a secret given twice."""
    missing, binary = tmp_path / "missing", tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    sentence = refusal(REDIS_URL_FILE=str(missing))
    assert sentence.startswith(f"REDIS_URL_FILE names '{missing}', which cannot be")
    assert "it is not text" in refusal(REDIS_URL_FILE=str(binary))
    assert refusal(REDIS_URL="redis://x", REDIS_URL_FILE=str(binary)) == (
        "REDIS_URL and REDIS_URL_FILE are both set: keep one."
    )


@pytest.mark.parametrize(
    ("name", "value", "length"),
    [
        ("SMARTWORKER_CRON_TOKENS", "hunter2", 7),
        ("SMARTWORKER_CRON_TOKENS", f"{TOKEN},nightly:hunter2", 7),
        ("SMARTWORKER_ADMIN_TOKEN", "hunter2-hunter2", 15),
    ],
)
def test_a_short_token_is_refused(name: str, value: str, length: int) -> None:
    """The sentence tells the length and the cure, not the token."""
    sentence = refusal(**{name: value})
    assert f"{length} characters: at least 32 are needed" in sentence
    assert name in sentence
    assert "hunter2" not in sentence


HASHED = f"sha256={sha256(TOKEN.encode()).hexdigest()}"


@pytest.mark.parametrize(
    ("tokens", "admin", "reason"),
    [
        (f"{TOKEN},{TOKEN}", "", "has the same token twice"),
        (f"one:{TOKEN},two:{TOKEN}", "", "has the same token twice"),
        (f"{TOKEN},one:{HASHED}", "", "has the same token twice"),
        (TOKEN, TOKEN, "SMARTWORKER_ADMIN_TOKEN is also a token of SMARTWORKER_CRON"),
        (f"one:{TOKEN}", HASHED, "SMARTWORKER_ADMIN_TOKEN is also a token of"),
        ("changeme" * 4, "", "is a placeholder"),
        ("one:Change_Me-CHANGE-me-change-me-please", "", "is a placeholder"),
        ("your-secret-token-at-least-32-characters", "", "is a placeholder"),
        ("", "replace-this-by-something-long-and-random", "is a placeholder"),
        (f"sha256={sha256(b'').hexdigest()}", "", "is a placeholder"),
        ("sha256=abc", "", "not followed by 64 hexadecimal digits"),
        (f"{HASHED}00", "", "not followed by 64 hexadecimal digits"),
        (f"{HASHED[:-1]}g", "", "not followed by 64 hexadecimal digits"),
        (f"{HASHED[:-3]} 00", "", "not followed by 64 hexadecimal digits"),
    ],
)
def test_tokens_that_anybody_may_guess_are_refused(
    tokens: str, admin: str, reason: str
) -> None:
    """Placeholders, hashes that are none, and equal tokens; none of them is shown."""
    sentence = refusal(SMARTWORKER_CRON_TOKENS=tokens, SMARTWORKER_ADMIN_TOKEN=admin)
    assert reason in sentence
    shown = [secret for secret in (*tokens.split(","), admin) if len(secret) > 9]
    assert not any(secret.rpartition(":")[2] in sentence for secret in shown)


@pytest.mark.parametrize(
    "entry", [HASHED, HASHED.upper().replace("SHA", "sha"), f"one:{HASHED}"]
)
def test_a_token_may_be_kept_as_its_hash(entry: str) -> None:
    """The digits may be written in either case."""
    assert read(SMARTWORKER_CRON_TOKENS=entry).cron_tokens == (entry,)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"SMARTWORKER_WEBHOOK_SECRETS": TOKEN}, "is not whsec_ and base64"),
        ({"SMARTWORKER_WEBHOOK_SECRETS": "whsec_hunter2"}, "is not whsec_ and base64"),
        ({"SMARTWORKER_WEBHOOK_SECRETS": "whsec_é"}, "is not whsec_ and base64"),
        ({"SMARTWORKER_WEBHOOK_SECRETS": f"{SIGNING},x:whsec_AAAA"}, "has 3 bytes"),
        ({"SMARTWORKER_WEBHOOK_SECRETS": "whsec_"}, "has 0 bytes: at least 24"),
        (
            {"QSTASH_NEXT_SIGNING_KEY": "hunter2"},
            "QSTASH_NEXT_SIGNING_KEY is set and QSTASH_CURRENT_SIGNING_KEY is not",
        ),
        (
            {"QSTASH_CURRENT_SIGNING_KEY": "hunter2"},
            "QSTASH_CURRENT_SIGNING_KEY is set and QSTASH_NEXT_SIGNING_KEY is not",
        ),
    ],
)
def test_signing_secrets_that_cannot_work_are_refused(
    variables: dict[str, str], reason: str
) -> None:
    """The sentence names the variable and keeps the secret."""
    sentence = refusal(**variables)
    assert reason in sentence
    assert "hunter2" not in sentence


def test_secrets_are_not_in_the_repr() -> None:
    """A settings object in a log line gives nothing away."""
    settings = Settings(
        redis_url=f"redis://:{SECRET}@x",
        result_url=f"redis://:{SECRET}@y",
        cron_tokens=(SECRET * 2,),
        admin_token=SECRET * 3,
        webhook_secrets=("whsec_hunter2hunter2hunter2hunter2hunter2x",),
        qstash_current_key=SECRET,
        qstash_next_key=SECRET,
        database_url=f"postgresql://u:{SECRET}@z",
    )
    assert "hunter2" not in repr(settings)
    assert "monthly_budget=500000" in repr(settings)


def test_a_settings_object_is_checked_like_the_environment() -> None:
    """Values given in Python are judged too."""
    with pytest.raises(SettingsError, match="SMARTWORKER_QUIET_POLL asks for a poll"):
        Settings(quiet_poll=timedelta(0))
    with pytest.raises(SettingsError, match="SMARTWORKER_WINDOWS asks for a poll"):
        Settings(windows=parse_windows("1:00-2:00=25h", "UTC"))


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("example.com", False),
    ],
)
def test_knows_the_names_of_this_machine(host: str, local: bool) -> None:
    """Loopback addresses and localhost, and nothing else."""
    assert is_local(host) is local


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("redis://:p%40ss@x", "p@ss"),
        ("redis://x", None),
        ("redis://:p@[::1", None),
    ],
)
def test_finds_the_password_of_a_url(url: str, password: str | None) -> None:
    """Decoded, so that it can be searched for in logs."""
    assert password_of(url) == password
