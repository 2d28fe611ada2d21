"""Several messages published together: one LPUSH per queue key."""

from typing import Any

from kombu.transport import redis as stock

from smartworker.store.meter import because


class _MergedPushes:
    """Stands in for a pipeline: pushes to one key become one variadic command."""

    def __init__(self, channel: Any, pipeline: Any) -> None:
        self._channel = channel
        self._pipeline = pipeline
        self._pushes: dict[str, list[str]] = {}
        self._lifetimes: dict[str, int] = {}

    def lpush(self, key: str, *values: str) -> None:
        """Collect; nothing is sent yet."""
        self._pushes.setdefault(key, []).extend(values)

    def pexpire(self, key: str, milliseconds: int) -> None:
        """Collect; a lifetime counts only once the list is there."""
        self._lifetimes[key] = milliseconds

    def execute(self) -> Any:
        """Send all: 1 command per key, and 1 more where the producer must ring."""
        pushes, self._pushes = self._pushes, {}
        must_ring = self._channel.must_ring()
        for key, values in pushes.items():
            self._pipeline.lpush(key, *values)
        for key, milliseconds in self._lifetimes.items():
            self._pipeline.pexpire(key, milliseconds)
        self._lifetimes.clear()
        with because("publish"):
            answer = self._pipeline.execute()
        if must_ring:
            for key, values in pushes.items():
                self._channel.ring(self._channel.global_keyprefix + key, len(values))
        return answer

    def reset(self) -> None:
        """Drop what was collected."""
        self._pushes.clear()
        self._lifetimes.clear()
        self._pipeline.reset()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)


class PublishBatch(stock.PublishBatch):
    """kombu's batch over merged pushes."""

    pipeline: Any

    def __init__(self, channel: Any, max_size: int) -> None:
        super().__init__(channel, max_size)
        self.pipeline = _MergedPushes(channel, self.pipeline)
