"""Raw numbers as JSON files, one a measure, with what they were measured on."""

import json
import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.lab.billing import Server
from benchmarks.lab.peers import PEERS, Peer, Unavailable

#: In the repository: the tables and the picture are made from them.
RESULTS = Path(__file__).parent.parent / "results"


@dataclass(frozen=True)
class Plan:
    """What one call is to measure; `quick` for a rough look of minutes."""

    peers: tuple[Peer, ...]
    quick: bool = False
    #: Where the raw numbers of all measures are.
    folder: Path = RESULTS

    def pick(self, *names: str) -> list[Peer]:
        """Those of the given peers that are asked for, in the order given."""
        return [PEERS[name] for name in names if PEERS[name] in self.peers]

    def each(
        self, measure: Callable[[Peer], dict[str, Any]], *names: str, at_once: int = 1
    ) -> dict[str, Any]:
        """What a measure finds for each peer; `{"unavailable": why}` where it cannot.

        All peers, or those named; so many `at_once`, for what load does not change.
        """
        peers = self.pick(*names) if names else self.peers
        found: dict[str, Any] = {}
        for peer in peers:
            with _excused(found, peer):
                peer.interpreter()

        def ask(peer: Peer) -> None:
            with _excused(found, peer):
                found[peer.name] = measure(peer)

        ready = [peer for peer in peers if peer.name not in found]
        with ThreadPoolExecutor(at_once) as pool:
            # One after the other stays in this thread, where Ctrl-C arrives.
            list((pool.map if at_once > 1 else map)(ask, ready))
        return {peer.name: found[peer.name] for peer in peers}


@contextmanager
def _excused(found: dict[str, Any], peer: Peer) -> Iterator[None]:
    try:
        yield
    except Unavailable as why:
        found[peer.name] = {"unavailable": str(why)}


def write(name: str, plan: Plan, numbers: dict[str, Any], folder: Path) -> Path:
    """Keep what a measure found, with the machine and the versions it was found on."""
    path = folder / f"{name}.json"
    folder.mkdir(exist_ok=True)
    facts = {"measure": name, "quick": plan.quick, "machine": machine()}
    path.write_text(json.dumps({**facts, "numbers": numbers}, indent=1) + "\n")
    return path


def read(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """What a measure found last. Raises FileNotFoundError if it never ran."""
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return found


def machine() -> dict[str, Any]:
    """What the numbers depend on, without anything that names the machine."""
    with Server() as server:
        about = server.client.info("server")
        kind = "Valkey" if "valkey_version" in about else "Redis"
        number = about.get("valkey_version", about["redis_version"])
    return {
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.system(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "server": f"{kind} {number}",
        **{name: version(name) for name in ("celery", "kombu", "redis")},
    }
