"""What the tests of two releases share: the one before, and a server of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from smartworker.store.server import EmbeddedServer
from tests.upgrades.release import NoRelease, previous_wheel


@pytest.fixture(scope="session")
def previous() -> Path:
    """The wheel of the release before."""
    try:
        return previous_wheel()
    except NoRelease as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def own_url() -> Iterator[str]:
    """A server for the tests of one module: no other test empties it."""
    with EmbeddedServer() as server:
        yield server.url
