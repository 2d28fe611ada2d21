"""The table of settings: each environment variable, how it is read, what is allowed."""

from typing import Literal, get_args

from smartworker.durations import parse_duration
from smartworker.environment import Variable
from smartworker.ping import check_ping
from smartworker.values import choice, file, listener, names, networks, switch, whole

Doorbell = Literal["auto", "keyspace", "publish", "off"]
LogFormat = Literal["json", "console"]
Dashboard = Literal["guarded", "open", "private", "off"]

UPSTASH_PASSWORD = Variable(
    "UPSTASH_REDIS_PASSWORD",
    "",
    str,
    "",
    "the password of that database",
    secret=True,
)

VARIABLES = (
    Variable(
        "REDIS_URL",
        "redis_url",
        str,
        "",
        "the broker: `redis://` or `rediss://`; without it the next three name it",
        secret=True,
    ),
    Variable(
        "UPSTASH_REDIS_HOST",
        "",
        str,
        "",
        "with port and password it makes a verified `rediss://` URL",
    ),
    Variable(
        "UPSTASH_REDIS_PORT", "", str, "", "the port of that database", default="6379"
    ),
    UPSTASH_PASSWORD,
    Variable(
        "SMARTWORKER_RESULT_URL",
        "result_url",
        str,
        "",
        "where results are kept, `redis://` or `rediss://`",
        unset="the broker",
        secret=True,
    ),
    Variable(
        "SMARTWORKER_TIMEZONE",
        "",
        str,
        "",
        "the zone of the windows",
        default="America/New_York",
    ),
    Variable(
        "SMARTWORKER_WINDOWS",
        "",
        str,
        "",
        "when to poll more often, and how often ([how it is written](#windows))",
        default="20:00-23:00=30s",
    ),
    Variable(
        "SMARTWORKER_QUIET_POLL",
        "quiet_poll",
        parse_duration,
        "write a duration from 1s to 24h, such as 30m",
        "the interval of the polls outside of all windows, 1s to 24h",
        default="30m",
    ),
    Variable(
        "SMARTWORKER_LONGEST_QUIET_POLL",
        "longest_quiet_poll",
        parse_duration,
        "write a duration from 1s to 24h, such as 2h",
        "how far that widens when the month's budget is used up; the same as the quiet "
        "poll: never",
        unset="2h, or the quiet poll if that is longer",
    ),
    Variable(
        "SMARTWORKER_DOORBELL",
        "doorbell",
        choice(get_args(Doorbell)),
        f"allowed is {', '.join(get_args(Doorbell))}",
        "who rings when work comes: with `keyspace` the server, with `publish` the "
        "producers (5 commands a task instead of 4), with `off` nobody; `auto`: the "
        "server where it can, else the producers",
        default="auto",
    ),
    Variable(
        "SMARTWORKER_LEASE",
        "lease",
        parse_duration,
        "write a duration of 1s or more, such as 5m",
        "how long a message stays a worker's without a sign of life from it",
        unset="ten polls, 5 to 15 minutes",
    ),
    Variable(
        "SMARTWORKER_MAX_DELIVERIES",
        "max_deliveries",
        whole(1, 1000),
        "write a whole number from 1 to 1000",
        "how often a message may be delivered before it is a dead letter, 1 to 1000",
        default="5",
    ),
    Variable(
        "SMARTWORKER_TLS_CA",
        "tls_ca",
        file,
        "name a file that exists",
        "the file of a certificate authority of your own",
        unset="the system's",
    ),
    Variable(
        "SMARTWORKER_TLS_VERIFY",
        "tls_verify",
        switch,
        "allowed is on, or off",
        "`off` accepts any certificate, and each start warns of it",
        default="on",
    ),
    Variable(
        "SMARTWORKER_TASKS",
        "tasks",
        names,
        "name modules, comma-separated",
        "modules that the ready-made app (`smartworker.app`) imports, comma-separated",
        default="smartworker.examples.swim.tasks",
    ),
    Variable(
        "SMARTWORKER_CRON_TOKENS",
        "cron_tokens",
        names,
        "write tokens, comma-separated",
        "who may call: `token` or `job:token`, comma-separated, 32 characters or more; "
        "`sha256=...` for a token that only its caller knows",
        unset="nobody",
        secret=True,
    ),
    Variable(
        "SMARTWORKER_ADMIN_TOKEN",
        "admin_token",
        str,
        "",
        "who may pause, resume and run jobs, and sign in to the dashboard",
        unset="tokens for all jobs may",
        secret=True,
    ),
    Variable(
        "SMARTWORKER_WEBHOOK_SECRETS",
        "webhook_secrets",
        names,
        "write secrets such as whsec_..., comma-separated",
        "`whsec_...` or `job:whsec_...`, comma-separated: calls signed by Standard "
        "Webhooks",
        secret=True,
    ),
    Variable(
        "QSTASH_CURRENT_SIGNING_KEY",
        "qstash_current_key",
        str,
        "",
        "calls signed by QStash (`smartworker[qstash]`); both keys, from its console",
        secret=True,
    ),
    Variable(
        "QSTASH_NEXT_SIGNING_KEY",
        "qstash_next_key",
        str,
        "",
        "the key that QStash signs with next",
        secret=True,
    ),
    Variable(
        "SMARTWORKER_DASHBOARD",
        "dashboard",
        choice(get_args(Dashboard)),
        f"allowed is {', '.join(get_args(Dashboard))}",
        "who sees the page at `/`: `guarded` (all but log tails and errors), `open` "
        "(everything), `private` (after sign-in) or `off`",
        default="guarded",
    ),
    Variable(
        "SMARTWORKER_TRIGGER_LIMIT",
        "trigger_limit",
        whole(1, 1_000_000),
        "write a whole number of triggers a minute, such as 1200",
        "triggers a minute that may reach Redis, for each web process",
        default="1200",
    ),
    Variable(
        "SMARTWORKER_TRUSTED_PROXIES",
        "trusted_proxies",
        networks,
        "write addresses or networks, comma-separated, such as 10.0.0.0/8",
        "addresses or networks whose `X-Forwarded-For` names the caller, "
        "comma-separated",
        unset="none",
    ),
    Variable(
        "SMARTWORKER_MONTHLY_BUDGET",
        "monthly_budget",
        whole(1, 10**12),
        "write a whole number of commands, such as 500000",
        "commands a month: for the forecasts, and the limit at which quiet polls widen",
        default="500000",
    ),
    Variable(
        "SMARTWORKER_TRACK_QUEUED",
        "track_queued",
        switch,
        "allowed is on, or off",
        "`on`: the state of a task queued by `.delay()` is known at once, for one "
        "command more",
        default="off",
    ),
    Variable(
        "SMARTWORKER_LOG_FORMAT",
        "log_format",
        choice(get_args(LogFormat)),
        f"allowed is {', '.join(get_args(LogFormat))}",
        "`json` for programs, `console` for people",
        default="json",
    ),
    Variable(
        "PORT",
        "port",
        whole(0, 65_535),
        "write a port number from 0 to 65535",
        "where the web process listens; 0: any free port",
        default="8000",
    ),
    Variable(
        "SMARTWORKER_METRICS_PORT",
        "metrics_port",
        listener,
        "write a port from 1 to 65535, such as 9808, or 127.0.0.1:9808",
        "where a worker serves `/metrics`, `/livez`, `/readyz` and `/healthz`: `9808`, "
        "or `127.0.0.1:9808`",
        unset="nowhere",
    ),
    Variable(
        "DATABASE_URL",
        "database_url",
        str,
        "",
        "keeps the history of runs there (`smartworker[postgres]`); also the database "
        "of the examples",
        unset="Redis keeps it",
        secret=True,
    ),
    Variable(
        "SMARTWORKER_STATE_DIR",
        "state_dir",
        str,
        "",
        "the folder in which a worker writes its state for `smartworker health`, or "
        "`off`",
        unset="`smartworker-<uid>` beside other temporary files",
    ),
    Variable(
        "SMARTWORKER_PING_URL",
        "ping_url",
        check_ping,
        "write an address such as https://hc-ping.com/KEY/{job}",
        "where runs of jobs are pinged, such as `https://hc-ping.com/<ping key>/{job}`",
        unset="nowhere",
        secret=True,
    ),
)
