"""What we override in foreign classes still exists, with the arguments we expect."""

import ast
import importlib
import inspect
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import smartworker

HERE = Path(__file__)
TABLES = runpy.run_path(str(HERE.with_name("overrides.py")))
OVERRIDES: dict[str, str | None] = TABLES["OVERRIDES"]
TOUCHED: dict[str, set[str]] = TABLES["TOUCHED"]

ROOT = Path(smartworker.__file__).parent
PACKAGES = ("broker", "worker", "store")
FOREIGN = ("kombu", "celery", "redis", "apscheduler")


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


def test_every_touched_private_name_is_in_the_table() -> None:
    """`x._name` that is none of ours: listed, or nobody notices when it goes."""
    listed = {path.rpartition(".")[2] for path in OVERRIDES}
    listed |= set().union(*TOUCHED.values()) | own_names()
    # Of os and sys: documented, in spite of their names.
    listed |= {"_exit", "_current_frames"}
    missing = set()
    for module in modules():
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if not isinstance(node, ast.Attribute) or node.attr in listed:
                continue
            if node.attr.startswith("_") and not node.attr.startswith("__"):
                missing.add(f"{module.__name__}:{node.lineno} {node.attr}")
    assert missing == set()
