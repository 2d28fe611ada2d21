"""What we override in foreign classes still exists, with the arguments we expect."""

import ast
import importlib
import inspect
import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from billiard.context import Process
from billiard.process import current_process
from celery import Celery
from celery.concurrency.prefork import process_initializer

import smartworker
from smartworker.worker import luggage

HERE = Path(__file__)
TABLES = runpy.run_path(str(HERE.with_name("overrides.py")))
OVERRIDES: dict[str, str | None] = TABLES["OVERRIDES"]
GLOBALS: dict[str, str | None] = TABLES["GLOBALS"]
TOUCHED: dict[str, set[str]] = TABLES["TOUCHED"]

ROOT = Path(smartworker.__file__).parent
PACKAGES = ("broker", "worker", "store")
FOREIGN = ("kombu", "celery", "billiard", "redis", "apscheduler")
#: What a pool process ends with if all is as we expect.
AS_EXPECTED = 42


def modules() -> Iterator[Any]:
    """The modules of the packages that touch foreign classes."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).glob("*.py")):
            if path.name != "__init__.py":
                yield importlib.import_module(f"smartworker.{package}.{path.stem}")


def classes() -> Iterator[type]:
    """Our own classes in them."""
    for module in modules():
        for found in vars(module).values():
            if inspect.isclass(found) and found.__module__ == module.__name__:
                yield found


def foreign_owner(cls: type, name: str) -> type | None:
    """The foreign parent that defines a name which one of our classes overrides."""
    for parent in cls.__mro__[1:]:
        if name in vars(parent) and parent.__module__.startswith(FOREIGN):
            return parent
    return None


def find(path: str) -> Any:
    """The class that `module:Class` names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def bare(signature: inspect.Signature) -> str:
    """A signature without annotations."""
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
    ]
    return str(inspect.Signature(parameters))


@pytest.mark.parametrize("path", OVERRIDES)
def test_the_parent_still_has_it(path: str) -> None:
    """The name exists where the table says, with these arguments."""
    owner, _, name = path.rpartition(".")
    cls, expected = find(owner), OVERRIDES[path]
    found = inspect.getattr_static(cls, name, None)
    assert found is not None, f"{path} is gone"
    if expected is not None:
        assert bare(inspect.signature(getattr(cls, name))) == expected


@pytest.mark.parametrize("path", GLOBALS)
def test_the_module_still_has_it(path: str) -> None:
    """The name exists there, with these arguments."""
    found, expected = find(path), GLOBALS[path]
    if expected is not None:
        assert bare(inspect.signature(found)) == expected


def start_as_in_a_pool(app: Any) -> None:
    """What Celery does first in a process of its pool; ends with what is there then."""
    process_initializer(app, "a-host")
    traces = [task.__trace__ for task in app.tasks.values()]
    wrapped = all(hasattr(trace, "__wrapped__") for trace in traces)
    takes = {bare(inspect.signature(trace)) for trace in traces}
    ours = current_process().name != "MainProcess"
    expected = wrapped and ours and takes == {"(uuid, args, kwargs, request=None)"}
    os._exit(AS_EXPECTED if expected else 1)


# Newer Pythons warn of forks beside threads, which other tests may have left.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_pool_process_makes_its_tracers_before_it_says_so() -> None:
    """Its results go home only if the tasks have their tracers when we are called."""
    assert current_process().name == "MainProcess"
    app = Celery("pool", set_as_current=False)
    luggage.connect()
    app.finalize()
    process = Process(target=start_as_in_a_pool, args=(app,))
    process.start()
    process.join(20)
    assert process.exitcode == AS_EXPECTED
    app.close()


@pytest.mark.parametrize("path", TOUCHED)
def test_the_parent_still_uses_it(path: str) -> None:
    """Attributes of instances: the source of the class still speaks of them."""
    source = "".join(
        inspect.getsource(parent)
        for parent in find(path).__mro__
        if parent.__module__.startswith(FOREIGN)
    )
    assert sorted(name for name in TOUCHED[path] if name not in source) == []


def test_every_override_is_in_the_table() -> None:
    """A private name that we override and forgot to list fails here."""
    listed = {path.rpartition(".")[2] for path in OVERRIDES}
    listed |= set().union(*TOUCHED.values())
    missing = {
        f"{cls.__module__}.{cls.__name__}.{name}"
        for cls in classes()
        for name in vars(cls)
        if name.startswith("_") and not name.startswith("__")
        if foreign_owner(cls, name) and name not in listed
    }
    assert missing == set()


def test_the_search_sees_our_overrides() -> None:
    """The check above would notice: it finds the overrides that there are."""
    found = {
        name for cls in classes() for name in vars(cls) if foreign_owner(cls, name)
    }
    assert {"_put", "_lookup", "_drain_one", "_set", "prepare_args"} <= found


def own_names() -> set[str]:
    """Private names that our own classes and modules define."""
    names = set()
    for module in modules():
        tree = ast.parse(inspect.getsource(module))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            targets: list[ast.expr] = []
            if isinstance(node, ast.Assign):
                targets = node.targets
            elif isinstance(node, ast.AnnAssign):
                targets = [node.target]
            for target in (part for each in targets for part in ast.walk(each)):
                if isinstance(target, ast.Attribute):
                    names.add(target.attr)
                elif isinstance(target, ast.Name):
                    names.add(target.id)
    return names


def touched(node: ast.AST) -> list[str]:
    """The names that this reads of something else: of an object or of a module."""
    if isinstance(node, ast.Attribute):
        return [node.attr]
    imported = node.names if isinstance(node, ast.ImportFrom) else []
    return [alias.name for alias in imported]


def test_every_touched_private_name_is_in_the_table() -> None:
    """`x._name` or `from x import _name` that is none of ours: listed, or nobody
    notices when it goes.
    """
    listed = {path.rpartition(".")[2] for path in OVERRIDES}
    listed |= {path.rpartition(":")[2] for path in GLOBALS}
    listed |= set().union(*TOUCHED.values()) | own_names()
    # Of os and sys: documented, in spite of their names.
    listed |= {"_exit", "_current_frames"}
    missing = set()
    for module in modules():
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            for name in set(touched(node)) - listed:
                if name.startswith("_") and not name.startswith("__"):
                    missing.add(f"{module.__name__} {name}")
    assert missing == set()
