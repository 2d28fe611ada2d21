"""`smartworker init`: its files are read by the platforms' own programs, and run."""

import base64
import configparser
import getpass
import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from smartworker.cron.fields import read_fields
from smartworker.cron.schedule import Schedule
from smartworker.deploy.patterns import moved
from smartworker.deploy.quoting import calendar
from smartworker.store.server import EmbeddedServer, free_port
from tests.deployed import (
    BIN,
    TOKEN,
    answers,
    init,
    make_shop,
    run_all,
    running,
    settings,
    shell,
    stop,
    sums,
    wait_ready,
)
from tests.processes import wait_until
from tests.programs import program

pytestmark = pytest.mark.slow

NEW_YORK = "America/New_York"
SCHEDULES = {
    "nightly-sum": Schedule("0 21 * * mon-fri", NEW_YORK),
    "each-minute": Schedule("* * * * *", NEW_YORK),
    "odd-days": Schedule("15 5 1-7 * sun", "Europe/Berlin"),
}


#: Folders, and what is made into each.
VARIANTS = {
    "render": ["render", "--cron", "--env", "REDIS_URL", "--env", "SHOP_KEY"],
    "render-one": ["render", "--single", "--python", "3.13.9", "--region", "ohio"],
    "docker": ["docker", "--env", "SHOP_KEY", "--python", "3.13.9"],
    "docker-one": ["docker", "--single"],
    "systemd": ["systemd", "--home", "HOME"],
    "systemd-one": ["systemd", "--home", "HOME", "--single"],
    "supervisor": ["supervisor", "--home", "HOME", "--user", "USER"],
    "supervisor-one": ["supervisor", "--single", "--name", "till"],
    "heroku": ["heroku", "--python", "3.13.9", "--env", "SHOP_KEY"],
    "heroku-one": ["heroku", "--single"],
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in a folder whose name means something everywhere, with all files."""
    home = make_shop(tmp_path_factory.mktemp("init") / "my $hop 100%")
    given = {"HOME": str(home), "USER": getpass.getuser()}
    app = ["-A", "shop:app"]
    run_all(
        home,
        [
            ["init", *(given.get(word, word) for word in words), *app, "--into", folder]
            for folder, words in VARIANTS.items()
        ],
    )
    return home


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """A server that keeps its data, as the doctor wants it before a deploy."""
    with EmbeddedServer() as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("appendonly", "yes")
        yield server


@pytest.fixture
def durable(server: EmbeddedServer, shop: Path) -> str:
    """Where it is; there and in the project nothing has been done yet."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    (shop / "sums").unlink(missing_ok=True)
    return server.url


# -- careful writing -------------------------------------------------------------------


def test_it_never_overwrites(tmp_path: Path) -> None:
    """The second time it names what is there and writes nothing; --force replaces."""
    shop = make_shop(tmp_path)
    words = ("docker", "-A", "shop:app")
    done = init(shop, *words)
    assert (done.returncode, done.stderr) == (0, "")
    paths = re.findall(r"^  (?!\d+\. )(.+)$", done.stdout, re.MULTILINE)
    first = {path: (shop / path).read_text() for path in paths}
    changed, removed = paths[:2]
    (shop / changed).write_text("mine\n")
    (shop / removed).unlink()
    done = init(shop, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("smartworker: Nothing was written, for ")
    assert changed in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (shop / changed).read_text() == "mine\n"
    assert not (shop / removed).exists()
    assert init(shop, *words, "--force").returncode == 0
    assert {path: (shop / path).read_text() for path in first} == first


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("-A", "shopp:app"), 78, "There is no Celery app at 'shopp:app'"),
        (("-A", "shop:ap"), 78, "There is no Celery app at 'shop:ap'"),
        (("-A", "shop:app", "--into", "shop.py/x"), 1, "cannot be written"),
    ],
)
def test_what_is_wrong_is_a_sentence(
    shop: Path, words: tuple[str, ...], status: int, said: str
) -> None:
    """It names the value."""
    done = init(shop, "docker", *words)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


# -- Render ----------------------------------------------------------------------------

#: https://render.com/docs/blueprint-spec, as far as it is used: the fields of a service
#: of each type, and those that it cannot do without.
FIELDS = {
    "type",
    "name",
    "runtime",
    "plan",
    "region",
    "buildCommand",
    "startCommand",
    "envVars",
}
MORE_FIELDS = {
    "web": {"preDeployCommand", "healthCheckPath", "maxShutdownDelaySeconds"},
    "worker": {"preDeployCommand", "maxShutdownDelaySeconds"},
    "cron": {"schedule"},
}
PLANS = {"web": {"free", "starter"}, "worker": {"starter"}, "cron": {"starter"}}
#: Where a value comes from: exactly one of these.
SOURCES = {"value": str, "sync": bool, "generateValue": bool, "fromService": dict}
#: What Render itself sets in each web service.
BY_RENDER = {"RENDER_EXTERNAL_URL"}


@pytest.mark.parametrize("broker", ["", ', broker="redis://127.0.0.1:1"'])
def test_an_app_with_a_broker_of_its_own(tmp_path: Path, broker: str) -> None:
    """It may not read what the files set: that is said beside the next steps."""
    (tmp_path / "own.py").write_text(
        "import smartworker\nfrom celery import Celery\n"
        f'app = smartworker.setup(Celery("own"{broker}))\n'
    )
    done = init(tmp_path, "render", "-A", "own:app")
    assert done.returncode == 0, done.stderr
    assert ("own:app names its broker itself" in done.stderr) is bool(broker)


def check_blueprint(blueprint: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Its services by name, each as Render documents it."""
    assert set(blueprint) == {"services"}
    services = {each["name"]: each for each in blueprint["services"]}
    assert len(services) == len(blueprint["services"])
    keys = {
        name: {each["key"] for each in service["envVars"]}
        for name, service in services.items()
    }
    for service in services.values():
        kind = service["type"]
        assert FIELDS <= set(service) <= FIELDS | MORE_FIELDS[kind]
        assert service["runtime"] == "python"
        assert service["plan"] in PLANS[kind]
        assert service["plan"] != "free" or "preDeployCommand" not in service
        assert 1 <= service.get("maxShutdownDelaySeconds", 30) <= 300
        for variable in service["envVars"]:
            (source,) = set(variable) - {"key"}
            assert isinstance(variable[source], SOURCES[source])
            if source == "fromService":
                other = variable[source]
                assert set(other) == {"type", "name", "envVarKey"}
                assert services[other["name"]]["type"] == other["type"]
                assert other["envVarKey"] in keys[other["name"]] | BY_RENDER
    return services


def blueprint_of(folder: Path) -> dict[str, dict[str, Any]]:
    """The services of the file that was written."""
    return check_blueprint(yaml.safe_load((folder / "render.yaml").read_text()))


def environment_of(
    services: dict[str, dict[str, Any]], name: str, asked: dict[str, str]
) -> dict[str, str]:
    """What Render gives to a service: `asked` is what a person has filled in."""
    found = {}
    for variable in services[name]["envVars"]:
        key = variable["key"]
        if "value" in variable:
            found[key] = variable["value"]
        elif variable.get("generateValue"):
            secret = key.encode().ljust(32, b".")
            found[key] = base64.b64encode(secret).decode()
        elif "fromService" in variable:
            other = variable["fromService"]
            values = {**environment_of(services, other["name"], asked), **asked}
            found[key] = values[other["envVarKey"]]
        else:
            found[key] = asked[key]
    return found


def test_the_files_run_it(shop: Path, durable: str) -> None:
    """The check, web process, worker and cron services of Render, each with the
    variables that it has: the jobs are done. So are they by the call of systemd's
    timers, and the checks of Docker find both healthy."""
    services = blueprint_of(shop / "render")
    kinds = [each["type"] for each in services.values()]
    assert kinds == ["web", "worker", "cron", "cron", "cron"]
    port = str(free_port())
    address = f"http://127.0.0.1:{port}"
    asked = {"REDIS_URL": durable, "SHOP_KEY": "k", "RENDER_EXTERNAL_URL": address}
    asked |= {f"UPSTASH_REDIS_{part}": "" for part in ("HOST", "PORT", "PASSWORD")}
    base = settings(durable, shop, PORT=port)
    for name in ("REDIS_URL", "SMARTWORKER_CRON_TOKENS", "SMARTWORKER_ADMIN_TOKEN"):
        del base[name]
    given = {
        name: {**base, **environment_of(services, name, asked)} for name in services
    }
    web, worker = services["shop-web"], services["shop-worker"]
    checked = shell(web["preDeployCommand"], shop, **given["shop-web"])
    assert checked.returncode == 0, checked.stdout
    with (
        running({"web": web["startCommand"]}, shop, given["shop-web"]),
        running({"worker": worker["startCommand"]}, shop, given["shop-worker"]) as two,
    ):
        wait_ready(address, shop)
        for job in SCHEDULES:
            cron = services[f"shop-cron-{job}"]
            called = shell(cron["startCommand"], shop, **given[cron["name"]])
            assert called.returncode == 0, called.stderr
            status = json.loads(called.stdout)["status"]
            assert status == "accepted" or job != "each-minute"
        token = given["shop-web"]["SMARTWORKER_CRON_TOKENS"]
        called = call_of_systemd(shop, token, port, **base)
        assert json.loads(called.stdout)["status"] == "accepted", called.stderr
        wait_until(lambda: sums(shop).count("2") == 2, 20, "the jobs")
        for check in checks_of_docker(shop / "docker", port):
            assert shell(check, shop, **base).returncode == 0, check
        assert stop(two["worker"]) == 0
    for check in checks_of_docker(shop / "docker", port):
        assert shell(check, shop, **base).returncode == 1, check


def call_of_systemd(
    shop: Path, token: str, port: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """What the timer of the job `by-hand` would run, with systemd's variables."""
    text = (shop / "systemd" / "deploy/systemd/shop-cron@.service").read_text()
    (line,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    line = line.replace("%i", "by-hand").replace(":8000/", f":{port}/")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "header").write_text(f"Authorization: Bearer {token}\n")
        return shell(line, shop, **env, CREDENTIALS_DIRECTORY=folder)


def checks_of_docker(folder: Path, port: str) -> list[str]:
    """The health checks of web process and worker, the first on this port."""
    web = yaml.safe_load((folder / "compose.yaml").read_text())["services"]["web"]
    inside = web["environment"]["PORT"]
    kind, *words = web["healthcheck"]["test"]
    assert kind == "CMD"
    steps = steps_of(folder)["HEALTHCHECK"].partition(" CMD ")[2]
    of_web = [word.replace(f":{inside}/", f":{port}/") for word in words]
    return [shlex.join(of_web), shlex.join(json.loads(steps))]


def test_the_check_stops_a_deploy(shop: Path) -> None:
    """A server that forgets, and one that is away, stop it."""
    command = blueprint_of(shop / "render")["shop-web"]["preDeployCommand"]
    with EmbeddedServer() as server:
        env = settings(server.url, shop)
        assert shell(command, shop, **env).returncode != 0
    assert shell(command, shop, **env).returncode != 0


def test_the_free_plan_of_render(shop: Path, durable: str) -> None:
    """One web service does it all, and stops together."""
    (service,) = blueprint_of(shop / "render-one").values()
    assert (service["type"], service["plan"]) == ("web", "free")
    assert service["region"] == "ohio"
    assert {"key": "PYTHON_VERSION", "value": "3.13.9"} in service["envVars"]
    port = str(free_port())
    env = settings(durable, shop, PORT=port)
    address = f"http://127.0.0.1:{port}"
    with running({"web": service["startCommand"]}, shop, env) as started:
        wait_ready(address, shop)
        call = f'curl -sS -X POST -H "Authorization: Bearer {TOKEN}"'
        shell(f"{call} {address}/api/cron/by-hand", shop, **env)
        wait_until(lambda: sums(shop) == ["2"], 20, "the job")
        assert stop(started["web"]) == 0
        assert not list((shop / "states").glob("*.json"))
    assert not answers(f"{address}/livez")


# -- Docker ----------------------------------------------------------------------------


def steps_of(folder: Path) -> dict[str, str]:
    """The instructions of the Dockerfile."""
    lines = (folder / "Dockerfile").read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines if line and line[0].isupper())


@pytest.mark.parametrize("name", ["docker", "docker-one"])
def test_docker(shop: Path, name: str) -> None:
    """compose.yaml follows the schema of the Compose specification; commands are words,
    so signals reach them; the server keeps everything."""
    folder = shop / name
    check = [sys.executable, "-m", "check_jsonschema"]
    schema = ["--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    done = subprocess.run(
        [*check, *schema], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    last = "worker" if name == "docker" else "web"
    assert list(services) == list(dict.fromkeys(["redis", "web", last]))
    assert "noeviction" in services["redis"]["command"]
    # Builds run side by side, and two of one name would be in each other's way.
    assert [name for name, each in services.items() if "image" in each] == ["redis"]
    assert services[last]["stop_grace_period"] == "300s"
    steps = steps_of(folder)
    assert steps["FROM"] == f"python:{minor_of(name)}-slim"
    assert steps["USER"] == "app"
    assert json.loads(steps["CMD"]) == services[last]["command"]
    assert {".env", ".venv"} <= set((folder / ".dockerignore").read_text().split())
    example = (folder / ".env.example").read_text().split()
    assert ("SHOP_KEY=" in example) == (name == "docker")


def minor_of(name: str) -> str:
    """The Python version that was asked for, or this one."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    return "3.13" if "--python" in VARIANTS[name] else here


# -- systemd ---------------------------------------------------------------------------


def analyze(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """systemd-analyze, which needs no running systemd for this."""
    command = [program("systemd-analyze", "systemd"), *words]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", ["systemd", "systemd-one"])
def test_systemd_takes_the_units(shop: Path, name: str) -> None:
    """`systemd-analyze verify` says nothing, and finds the program of each; what a
    service may do beyond its work is little."""
    folder = shop / name / "deploy" / "systemd"
    units = sorted(path.name for path in folder.iterdir() if "env" not in path.name)
    names = {"web.service", "cron@.service", "cron@odd-days.timer"}
    assert {f"shop-{each}" for each in names} <= set(units)
    assert ("shop-worker.service" in units) == (name == "systemd")
    done = analyze(folder, "verify", *(f"./{unit}" for unit in units))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    services = [f"./{unit}" for unit in units if "@" not in unit]
    done = analyze(folder, "security", "--offline=1", "--threshold=25", *services)
    assert done.returncode == 0, done.stdout


def test_systemd_sees_what_is_missing(shop: Path, tmp_path: Path) -> None:
    """The check above is one: it notices a program that is not there."""
    unit = shop / "systemd" / "deploy" / "systemd" / "shop-web.service"
    text = unit.read_text().replace("/smartworker", "/smartwonder")
    (tmp_path / unit.name).write_text(text)
    done = analyze(tmp_path, "verify", f"./{unit.name}")
    assert "/smartwonder is not executable" in done.stderr


def test_systemd_calls_at_the_times_of_the_jobs(shop: Path) -> None:
    """The next ten of each timer are those of the schedule, in its zone."""
    folder = shop / "systemd" / "deploy" / "systemd"
    assert not (folder / "shop-cron@by-hand.timer").exists()
    start = datetime(2027, 3, 10, tzinfo=UTC)  # a clock change follows
    for name, schedule in SCHEDULES.items():
        text = (folder / f"shop-cron@{name}.timer").read_text()
        found: set[str] = set()
        for line in re.findall(r"^OnCalendar=(.+)$", text, re.MULTILINE):
            when = ["--iterations=10", f"--base-time={start:%Y-%m-%d %H:%M:%S} UTC"]
            done = analyze(folder, "calendar", *when, line)
            assert done.returncode == 0, done.stderr
            times = re.findall(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", done.stdout)
            found.update(times)
        expected, moment = [], start
        for _ in range(10):
            moment = schedule.after(moment)
            expected.append(f"{moment:%Y-%m-%d %H:%M:%S}")
        assert sorted(found)[:10] == expected, name


def test_what_systemd_leaves_out(tmp_path: Path) -> None:
    """The slot that moves to 3 o'clock in spring, and the second of two equal hours in
    autumn: the page says so."""
    schedule = Schedule("30 2 * * *", NEW_YORK)
    day = datetime(2027, 3, 14, tzinfo=UTC)
    (pattern,), _ = moved(read_fields(schedule.expression), [0])
    when = f"--base-time={day:%Y-%m-%d %H:%M:%S} UTC"
    done = analyze(tmp_path, "calendar", when, calendar(pattern, NEW_YORK))
    assert f"{schedule.after(day):%Y-%m-%d %H:%M}" == "2027-03-14 07:00"
    assert "Mon 2027-03-15 06:30:00 UTC" in done.stdout
    schedule = Schedule("*/30 1 * * *", NEW_YORK)
    first = datetime(2027, 11, 7, 5, 30, tzinfo=UTC)
    (pattern,), _ = moved(read_fields(schedule.expression), [0])
    when = f"--base-time={first:%Y-%m-%d %H:%M:%S} UTC"
    done = analyze(tmp_path, "calendar", when, calendar(pattern, NEW_YORK))
    assert f"{schedule.after(first):%Y-%m-%d %H:%M}" == "2027-11-07 06:00"
    assert "Mon 2027-11-08 06:00:00 UTC" in done.stdout


def test_systemd_starts_what_render_starts(shop: Path) -> None:
    """The same words, by the program in the project's own environment."""
    services = blueprint_of(shop / "render")
    for name in ("web", "worker"):
        unit = shop / "systemd" / "deploy" / "systemd" / f"shop-{name}.service"
        (line,) = re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE)
        program, *words = shlex.split(line.replace("%%", "%"))
        assert program == str(shop / ".venv" / "bin" / "smartworker")
        start = shlex.split(services[f"shop-{name}"]["startCommand"])
        assert ["smartworker", *words] == start


# -- supervisor ------------------------------------------------------------------------


def supervised(home: Path, url: str, port: str) -> Path:
    """A configuration of supervisord with the programs of the shop, whose settings and
    logs are in the project instead of /etc and /var/log."""
    folder = home / "supervisor" / "deploy" / "supervisor"
    text = (folder / "shop.conf").read_text().replace("/etc/shop/env", "./settings")
    text = text.replace("/var/log/", "").replace('PORT="8000"', f'PORT="{port}"')
    filled = (folder / "shop.env.example").read_text()
    for name, token in (("CRON_TOKENS", TOKEN), ("ADMIN_TOKEN", TOKEN[::-1])):
        filled = filled.replace(f"SMARTWORKER_{name}=", f"SMARTWORKER_{name}={token}")
    filled = re.sub(r"(?m)^REDIS_URL=.*$", f"REDIS_URL='{url}'", filled)
    (home / "settings").write_text(filled)
    main = "[supervisord]\nnodaemon=true\nlogfile=supervisord.log\npidfile=s.pid\n"
    whole = home / "supervisord.conf"
    whole.write_text(f"{main}\n{text}")
    return whole


def test_supervisor_runs_it(shop: Path, durable: str) -> None:
    """supervisord reads the file, starts both, and stops them without a kill."""
    port = str(free_port())
    conf = supervised(shop, durable, port)
    env = settings(durable, shop)
    for name in ("REDIS_URL", "SMARTWORKER_CRON_TOKENS", "SMARTWORKER_ADMIN_TOKEN"):
        del env[name]
    command = shlex.join([str(BIN / "supervisord"), "-c", str(conf)])
    with running({"all": command}, shop, env) as started:
        wait_ready(f"http://127.0.0.1:{port}", shop)
        call = f'curl -sS -X POST -H "Authorization: Bearer {TOKEN}"'
        shell(f"{call} http://127.0.0.1:{port}/api/cron/by-hand", shop, **env)
        wait_until(lambda: sums(shop) == ["2"], 20, "the job")
        assert stop(started["all"]) == 0
    said = (shop / "supervisord.log").read_text()
    assert "stopped: shop-worker (exit status 0)" in said
    assert "SIGKILL" not in said


def test_supervisor_restarts_what_may_help(shop: Path) -> None:
    """Not what a wrong setting has ended."""
    file = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
    file.read(shop / "supervisor-one" / "deploy" / "supervisor" / "till.conf")
    assert file.sections() == ["group:till", "program:till-web"]
    program = file["program:till-web"]
    assert (program["autorestart"], program["exitcodes"]) == ("unexpected", "0,2,78")
    assert (program["stopsignal"], program["stopwaitsecs"]) == ("TERM", "300")
    assert program["directory"] == "/srv/till"


# -- Heroku ----------------------------------------------------------------------------

#: https://devcenter.heroku.com/articles/app-json-schema
APP_KEYS = {"name", "description", "buildpacks", "env", "formation"}


@pytest.mark.parametrize("name", ["heroku", "heroku-one"])
def test_heroku(shop: Path, name: str) -> None:
    """app.json has the keys that Heroku documents; each process has its dynos."""
    folder = shop / name
    app = json.loads((folder / "app.json").read_text())
    assert set(app) == APP_KEYS
    assert ("SHOP_KEY" in app["env"]) == (name == "heroku")
    for variable in app["env"].values():
        assert set(variable) <= {"description", "value", "generator"}
    made = [name for name, each in app["env"].items() if "generator" in each]
    assert made == ["SMARTWORKER_CRON_TOKENS", "SMARTWORKER_ADMIN_TOKEN"]
    lines = (folder / "Procfile").read_text().splitlines()
    found = dict(line.split(": ", 1) for line in lines)
    assert set(found) == {"release", *app["formation"]}
    assert ("worker" in found) == (name == "heroku")
    assert (folder / ".python-version").read_text() == f"{minor_of(name)}\n"
    assert not (folder / "requirements.txt").exists()
