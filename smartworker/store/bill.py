"""A recipe to read off a provider's counter what it bills: many of one kind at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from smartworker.store.client import ResponseError
from smartworker.store.meter import because, command_name, is_billed, ledger
from smartworker.store.probe import borrowed
from smartworker.store.traffic import CAUSE

#: Commands sent before their answers are read.
CHUNK = 200

Words = tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One question to the bill. What `each` sends is sent again and again."""

    name: str
    each: tuple[Words, ...]
    #: What scripts run inside, each time.
    inner: tuple[str, ...] = ()
    #: Whether a subscriber hears each of them.
    heard: bool = False
    #: The counts of one time that may be billed, and what each would mean.
    readings: tuple[tuple[int, str], ...] = ()

    @property
    def cost(self) -> int:
        """Commands of one time that we take for billed; the server counts these."""
        sent = [command_name(words) for words in self.each]
        return sum(map(is_billed, [*sent, *self.inner]))


SCRIPT = "redis.call('exists', KEYS[1]) return redis.call('exists', KEYS[1])"


def steps(base: str) -> tuple[Step, ...]:
    """All questions; keys begin with `base`, and nothing is ever written."""
    key = f"{base}:bill"
    look = ("EXISTS", key)
    return (
        Step("empty EXISTS", (look,), readings=((1, "billed"), (0, "not billed"))),
        Step(
            "MULTI with 2 EXISTS",
            (("MULTI",), look, look, ("EXEC",)),
            readings=(
                (4, "all billed"),
                (2, "MULTI and EXEC not billed"),
                (1, "billed as one"),
            ),
        ),
        Step(
            "CLIENT SETINFO",
            (("CLIENT", "SETINFO", "LIB-NAME", "smartworker"),),
            readings=((1, "billed"), (0, "not billed")),
        ),
        Step(
            "PUBLISH to a subscriber",
            (("PUBLISH", key, "1"),),
            heard=True,
            readings=((1, "deliveries not billed"), (2, "deliveries billed")),
        ),
        Step("PING", (("PING",),), readings=((0, "not billed"), (1, "billed"))),
        Step(
            "EVAL with 2 EXISTS",
            (("EVAL", SCRIPT, "1", key),),
            inner=("exists", "exists"),
            readings=((3, "EVAL and its commands billed"), (1, "EVAL alone billed")),
        ),
    )


def bill_cost(count: int) -> int:
    """Commands of all questions, asked so many times; one SUBSCRIBE is among them."""
    return count * sum(step.cost for step in steps("")) + 1


def run(client: Any, base: str, step: Step, count: int) -> str | None:
    """Send a step so many times; what the server says where it refuses.

    Raises what redis-py raises where the server is away.
    """
    with (
        because(CAUSE),
        borrowed(client, drop=True) as connection,
        _subscribed(client, f"{base}:bill", heard=step.heard) as drain,
    ):
        # One first: a refusal repeated a thousand times tells nothing more.
        times, left = 1, count
        while left:
            if error := _burst(connection, step.each * times):
                return error
            ledger.book(step.inner * times)
            drain(times)
            left -= times
            times = min(left, max(CHUNK // len(step.each), 1))
    return None


def _burst(connection: Any, commands: tuple[Words, ...]) -> str | None:
    """Send all of them, then read all answers; the first error among them."""
    connection.send_packed_command(connection.pack_commands(commands))
    found = None
    for _ in commands:
        try:
            connection.read_response()
        except ResponseError as error:
            found = found or str(error)
    return found


@contextmanager
def _subscribed(
    client: Any, channel: str, *, heard: bool
) -> Iterator[Callable[[int], None]]:
    """A subscriber whose messages can be taken off; a dummy where none is wanted."""
    if not heard:
        yield lambda count: None
        return
    with borrowed(client, drop=True) as connection:
        connection.send_command("SUBSCRIBE", channel)
        connection.read_response()

        def drain(count: int) -> None:
            for _ in range(count):
                connection.read_response()

        yield drain
