"""Metrics in Prometheus's form; the one module that uses prometheus_client.

The library is imported when it is first needed: a worker without a port does without.
"""

from collections.abc import Callable, Iterator
from typing import Any

from smartworker.errors import SettingsError
from smartworker.metrics import METRICS, Distribution, Metric, Readings


def require(setting: str) -> None:
    """Raise SettingsError if the library is missing, which `setting` asks for."""
    try:
        import prometheus_client  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f"{setting} is set and prometheus_client is not installed: install "
            "smartworker[metrics], or take the setting out."
        ) from error


class Page:
    """`/metrics`: reads the state when it is asked, and keeps nothing itself.

    In a registry of its own, so that no other library's metrics stand there and ours
    nowhere else.
    """

    def __init__(self, read: Callable[[], Readings]) -> None:
        from prometheus_client import CollectorRegistry

        self._registry = CollectorRegistry()
        self._registry.register(_Collector(read))

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page and its content type, for an Accept header."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _Collector:
    def __init__(self, read: Callable[[], Readings]) -> None:
        self._read = read

    def describe(self) -> list[Any]:
        """Nothing: the registry would read the state only to learn the names."""
        return []

    def collect(self) -> Iterator[Any]:
        """A family for each metric that has a value, in the order of the table."""
        readings = self._read()
        for name, metric in METRICS.items():
            if name in readings:
                yield _family(metric, readings)


def _family(metric: Metric, readings: Readings) -> Any:
    from prometheus_client import core

    kinds = {
        "counter": core.CounterMetricFamily,
        "gauge": core.GaugeMetricFamily,
        "histogram": core.HistogramMetricFamily,
    }
    family: Any = kinds[metric.kind](metric.name, metric.meaning, labels=metric.labels)
    for labels, value in sorted(readings[metric.name].items()):
        if isinstance(value, Distribution):
            family.add_metric(labels, value.cumulative(), value.sum)
        else:
            family.add_metric(labels, value)
    return family
