"""What stands on a page: its blocks, its commands, its diffs, its links."""

import re
from difflib import unified_diff
from pathlib import Path

ROOT = Path(__file__).parent.parent

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def page(name: str) -> str:
    """The text of a page of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, kind: str) -> list[str]:
    """The blocks of this kind, in their order, without their indentation."""
    return [
        re.sub(rf"^{indent}", "", block, flags=re.MULTILINE)
        for indent, each, block in _BLOCK.findall(text)
        if each == kind
    ]


def answers(text: str) -> list[tuple[str, str]]:
    """Each command of the page, with what it shows as its answer."""
    found = []
    for block in blocks(text, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, answer = part.partition("\n")
            found.append((command, answer))
    return found


def commands(text: str) -> list[str]:
    """Each command of the page, in its order."""
    return [command for command, _ in answers(text)]


def sides(diff: str) -> tuple[str, str]:
    """The file before and after a diff that shows the whole file.

    Raises ValueError where it is no diff that `patch` would take.
    """
    head, *_ = diff.splitlines()
    name = head.removeprefix("--- a/")
    body = diff.splitlines(keepends=True)[3:]
    before = [line[1:] for line in body if not line.startswith("+")]
    after = [line[1:] for line in body if not line.startswith("-")]
    made = unified_diff(before, after, f"a/{name}", f"b/{name}", n=len(body))
    if "".join(made) != diff:
        raise ValueError(f"this is no diff of {name}:\n{diff}")
    return "".join(before), "".join(after)


def broken_links(name: str) -> list[str]:
    """The links of a page that lead to no file of the repository, or no heading."""
    here = ROOT / name
    return [
        link
        for link in _LINK.findall(page(name))
        if "://" not in link and not _leads_somewhere(here, link)
    ]


def _leads_somewhere(here: Path, link: str) -> bool:
    path, _, heading = link.partition("#")
    target = here.parent / path if path else here
    if not heading or not target.is_file():
        return target.is_file()
    return heading in map(_anchor, re.findall(r"^#+ (.+)$", target.read_text(), re.M))


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
