"""What is published: the sdist, the wheel, and what they say of themselves."""

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from tests.test_architecture import installed_with
from tests.wheels import PROJECT

TOML = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = ("dev", "flower", "metrics", "postgres", "qstash", "review", "web")


@pytest.fixture(scope="module")
def packed(wheel: Path) -> dict[str, bytes]:
    """The files of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def published(sdist: Path) -> dict[str, bytes]:
    """The files of the sdist, without the folder that all of them are in."""
    found = {}
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            if content := archive.extractfile(member):
                found[member.name.partition("/")[2]] = content.read()
    return found


@pytest.fixture(scope="module")
def metadata(packed: dict[str, bytes]) -> Message:
    """What the wheel says of itself."""
    (name,) = [name for name in packed if name.endswith("dist-info/METADATA")]
    return message_from_bytes(packed[name])


def test_the_wheel_is_the_package(
    packed: dict[str, bytes], published: dict[str, bytes]
) -> None:
    """All files below smartworker/, byte for byte, and nothing beside them."""
    ours = {
        name: content
        for name, content in published.items()
        if name.startswith("smartworker/")
    }
    found = {k: v for k, v in packed.items() if k.startswith("smartworker/")}
    assert found == ours
    others = {name.partition("/")[0] for name in packed if name not in found}
    assert others == {f"smartworker-{TOML['project']['version']}.dist-info"}


@pytest.mark.parametrize(
    ("folder", "ending"),
    [
        ("store/lua", ".lua"),
        ("deploy/templates", ".j2"),
        ("review/templates", ".html"),
        ("web/dashboard", ".html"),
        ("web/dashboard", ".css"),
        ("web/dashboard", ".js"),
        ("examples/swim", "README.md"),
        ("", "py.typed"),
    ],
)
def test_what_is_no_python_is_there(
    packed: dict[str, bytes], folder: str, ending: str
) -> None:
    """Lua, templates, style, script, pages, and the mark that it is typed."""
    start = f"smartworker/{folder}"
    assert any(name.startswith(start) and name.endswith(ending) for name in packed)


def test_nothing_of_this_machine_is_published(
    packed: dict[str, bytes], published: dict[str, bytes]
) -> None:
    """No path of the folder it is made in, of its interpreter, nor what it compiled."""
    here = {str(PROJECT), str(PROJECT.resolve()), sys.prefix}
    for name, content in {**packed, **published}.items():
        assert not name.endswith((".pyc", ".sqlite3", ".rdb", ".log")), name
        assert not any(path.encode() in content for path in here), name


def test_the_licence_is_in_both(
    packed: dict[str, bytes], published: dict[str, bytes], metadata: Message
) -> None:
    """MIT, as text and by its name."""
    (name,) = [name for name in packed if name.endswith("dist-info/licenses/LICENSE")]
    assert packed[name] == published["LICENSE"]
    assert packed[name].startswith(b"MIT License")
    assert metadata["License-Expression"] == "MIT"


def test_the_sdist_has_all_that_the_tests_need(published: dict[str, bytes]) -> None:
    """Whoever packages it runs the tests: hidden files are easily forgotten."""
    names = (".ci/run", "Makefile", "Procfile", "constraints.txt", "docs/tasks.md")
    assert {*names, "benchmarks/__main__.py", "tests/conftest.py"} <= published.keys()


def test_what_lies_about_is_not_published(tmp_path: Path) -> None:
    """Secrets and notes in the folder stay there: the sdist has what is named."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, tmp_path)
    for name in (".env", "notes.md", "tests/test_it.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("secret")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", "out"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (made,) = (tmp_path / "out").iterdir()
    with tarfile.open(made) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    brought = {"pyproject.toml", "README.md", "LICENSE", "tests/test_it.py"}
    assert names == {*brought, "PKG-INFO"}


def test_the_extras(metadata: Message) -> None:
    """Those that the pages name, and no others; tools of the tests are none."""
    assert tuple(sorted(metadata.get_all("Provides-Extra", []))) == EXTRAS
    assert "pytest" not in str(metadata.get_all("Requires-Dist"))


def test_pythons_and_systems(metadata: Message) -> None:
    """Each version is named from the first that is required on."""
    classifiers = metadata.get_all("Classifier", [])
    pythons = re.findall(r"Python :: (3\.\d+)", " ".join(classifiers))
    assert pythons == ["3.11", "3.12", "3.13", "3.14"]
    assert metadata["Requires-Python"] == f">={pythons[0]}"
    systems = {line for line in classifiers if line.startswith("Operating System")}
    assert len(systems) == 3


def test_the_changelog_begins_with_this_version(published: dict[str, bytes]) -> None:
    """What is published is described."""
    titles = re.findall(r"^## (\S+)", published["CHANGELOG.md"].decode(), re.MULTILINE)
    assert titles[0].rstrip(",") == TOML["project"]["version"]


def test_everything_is_pinned() -> None:
    """`constraints.txt` names each package that any extra or the tests bring."""
    project = TOML["project"]
    wanted = [*project["dependencies"], *TOML["dependency-groups"]["test"]]
    for extra in project["optional-dependencies"].values():
        wanted += [each for each in extra if not each.startswith("smartworker[")]
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0].lower()) for line in lines}
    assert installed_with(wanted) - pinned == set()


def test_every_public_name_is_checked_for_its_types() -> None:
    """`tests/typing/api.py` uses all that users import."""
    import smartworker
    from smartworker import testing

    tree = ast.parse((PROJECT / "tests/typing/api.py").read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert {*smartworker.__all__, *testing.__all__} - used == set()
