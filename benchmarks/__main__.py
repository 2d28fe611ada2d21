"""`python -m benchmarks`: measure, keep the raw numbers, make tables and picture."""

import importlib
import time
from pathlib import Path

import click

from benchmarks import report
from benchmarks.lab.peers import PEERS
from benchmarks.lab.results import RESULTS, Plan, write

#: In this order: the exact ones first, those that need a quiet machine last.
MEASURES = (
    "idle",
    "tasks",
    "growth",
    "day",
    "bill",
    "footprint",
    "pickup",
    "throughput",
)


@click.command()
@click.argument("measures", nargs=-1, type=click.Choice([*MEASURES, "report"]))
@click.option(
    "--peers",
    default="",
    help="Only these, with commas between; needs --into or --quick.",
)
@click.option("--quick", is_flag=True, help="Rough, in under five minutes.")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help="Folder of the raw numbers; --quick writes to build/bench if not told.",
)
def main(measures: tuple[str, ...], peers: str, quick: bool, into: Path | None) -> None:
    """Measure smartworker and its peers; without names, everything."""
    names = [name.strip() for name in peers.split(",")] if peers else list(PEERS)
    if unknown := set(names) - PEERS.keys():
        raise click.BadParameter(
            f"{', '.join(sorted(unknown))}: choose from {', '.join(PEERS)}",
            param_hint="--peers",
        )
    if peers and not (into or quick):
        raise click.UsageError(
            "--peers would replace the repository's figures of all peers by those of a "
            "few: add --into FOLDER, or --quick."
        )
    folder = into or (Path("build/bench") if quick else RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(tuple(PEERS[name] for name in names), quick, folder)
    for name in [m for m in measures or MEASURES if m != "report"]:
        begun = time.monotonic()
        module = importlib.import_module(f"benchmarks.measures.{name}")
        path = write(name, plan, module.measure(plan), folder)
        click.echo(f"{name}: {time.monotonic() - begun:.0f} s, {path}")
    report.write(folder)


if __name__ == "__main__":
    main()
