"""What web process and worker are made of, put together once in each process."""

from functools import cached_property
from typing import Any

from smartworker.examples.sync.client import Roster
from smartworker.examples.sync.database import Database
from smartworker.examples.sync.delivery import Delivery
from smartworker.examples.sync.options import Options
from smartworker.examples.sync.outbox import Outbox
from smartworker.examples.sync.publisher import Drain, Publisher
from smartworker.examples.sync.schedules import Schedules


class Parts:
    """Made when first used; nothing in it minds a fork."""

    def __init__(self, app: Any, options: Options | None = None) -> None:
        self._app = app
        self.options = options or Options.from_environment()

    @cached_property
    def database(self) -> Database:
        """The tables."""
        return Database(self.options.database_url)

    @cached_property
    def schedules(self) -> Schedules:
        """Schedules as they are here."""
        return Schedules(self.database)

    @cached_property
    def outbox(self) -> Outbox:
        """The changes on their way."""
        return Outbox(self.database)

    @cached_property
    def publisher(self) -> Publisher:
        """Sends messages for them."""
        return Publisher(self._app, self.outbox)

    @cached_property
    def drain(self) -> Drain:
        """Does that in the background."""
        return Drain(self.publisher.publish)

    @cached_property
    def roster(self) -> Roster:
        """The third party."""
        return Roster(self.options.roster)

    @cached_property
    def delivery(self) -> Delivery:
        """Brings the changes there."""
        return Delivery(self.database, self.roster)
