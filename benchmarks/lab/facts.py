"""The raw numbers of all measures, looked up by path: None where one is missing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.lab.peers import PEERS
from benchmarks.lab.results import read


@dataclass(frozen=True)
class Facts:
    """What the files of one folder hold; `files` has each by the measure's name."""

    files: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, folder: Path) -> "Facts":
        """All that was measured: every file of the folder."""
        paths = sorted(folder.glob("*.json"))
        return cls({path.stem: read(path.stem, folder) for path in paths})

    @property
    def machine(self) -> Mapping[str, Any]:
        """What they were measured on, by the first file; empty without any."""
        return next((file["machine"] for file in self.files.values()), {})

    @property
    def quick(self) -> bool:
        """Whether any of it is only a rough look."""
        return any(file["quick"] for file in self.files.values())

    def at(self, measure: str, *keys: str) -> Any:
        """What stands at the end of a path of keys, or None."""
        found: Any = self.files.get(measure, {}).get("numbers")
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    def number(self, measure: str, *keys: str) -> float | None:
        """The number there. Raises TypeError if something else stands there."""
        found = self.at(measure, *keys)
        if found is None or isinstance(found, int | float):
            return found
        raise TypeError(f"{measure} {'.'.join(keys)} is no number: {found!r}")

    def peers(self, measure: str) -> Iterator[tuple[str, str]]:
        """Names and titles of who was measured, in the order of the registry.

        A measure may have variants of its own; they come last, under their names.
        """
        numbers = self.at(measure) or {}
        for name, peer in PEERS.items():
            if name in numbers:
                yield name, peer.title
        yield from ((name, name) for name in numbers if name not in PEERS)

    def why_not(self, measure: str, peer: str) -> str | None:
        """Why a peer could not be measured."""
        found = self.at(measure, peer, "unavailable")
        return None if found is None else str(found)


def ratio(value: float | None, base: float | None) -> float | None:
    """How many times the base; None without both."""
    return value / base if value is not None and base else None
