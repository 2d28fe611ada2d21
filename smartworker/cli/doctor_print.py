"""How the findings of `smartworker doctor` look in a terminal."""

from collections import Counter

import click

from smartworker.cli.shown import plain
from smartworker.doctor import SEVERITIES, Finding, total


def print_findings(findings: list[Finding]) -> None:
    """A row for each finding, how many there are, and what they cost."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not findings:
        click.echo("Nothing puts tasks at risk.")
        return
    rows = Table.grid(padding=(0, 2))
    for finding in findings:
        what = f"{finding.subject}: {finding.message} {finding.advice}"
        if finding.commands_per_month:
            what += f" Costs {about(finding.commands_per_month)} commands a month."
        rows.add_row(Text(finding.severity), Text(plain(what)))
    Console(highlight=False, markup=False).print(rows)
    counts = Counter(finding.severity for finding in findings)
    many = "warnings" if counts["warning"] > 1 else "warning"
    words = {name: many if name == "warning" else name for name in SEVERITIES}
    parts = [f"{counts[name]} {words[name]}" for name in SEVERITIES if counts[name]]
    cost = total(findings)
    said = f" In all {about(cost)} commands a month." if cost else ""
    click.echo(f"\n{', '.join(parts)}.{said}")


def about(commands: int) -> str:
    """A count of commands as a person says it: its first two or three digits."""
    if commands < 1000:
        return f"{commands:,}"
    digits = len(str(commands)) - 3
    return f"about {round(commands, -digits):,}"
