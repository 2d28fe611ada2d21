"""The web process's line of each hour: what its commands cost, and that it lives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from smartworker.clock import Clock
from smartworker.logs import get_logger
from smartworker.store.meter import ledger
from smartworker.worker.hourly import Account, Sent

log = get_logger(__name__)


@asynccontextmanager
async def reporting(clock: Clock) -> AsyncIterator[None]:
    """Say each full hour what was sent, and at the end what was not said yet."""
    account = Account(ledger.counts, clock)
    hours = asyncio.create_task(_each_hour(account, clock))
    try:
        yield
    finally:
        hours.cancel()
        _say(account.take())


async def _each_hour(account: Account, clock: Clock) -> None:
    while True:
        left = account.next_hour() - clock.now()
        # A moment more, or a sleep that ends too early would not see the full hour.
        await asyncio.sleep(left.total_seconds() + 0.1)
        sent = account.due()
        if sent is not None:
            _say(sent)


def _say(sent: Sent) -> None:
    log.info("web_report", since=sent.since, commands=sent.commands, billed=sent.billed)
