"""How often a stranger may fail, and how many triggers reach Redis; all in memory."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from math import ceil

from cachetools import LRUCache

from smartworker.clock import Clock, system_clock
from smartworker.settings import Settings
from smartworker.values import Network
from smartworker.web.problems import Problem

# A cron service with a wrong token shows itself in a day; a guesser needs 2^256 tries.
FAILURES_OF_ONE = 10
FAILURES_OF_ALL = 600
UNKNOWN_IDS_OF_ONE = 120
# Some 2 MB. Whoever has more addresses than that is held by the bucket for all.
MOST_ADDRESSES = 10_000


class Bucket:
    """Tokens that come back evenly: `per_minute` at once, and as many each minute."""

    def __init__(self, per_minute: int, now: float) -> None:
        self._most = float(per_minute)
        self._rate = per_minute / 60
        self._left = self._most
        self._at = now

    def wait(self, now: float) -> float:
        """0 if there is one to take, or the seconds until there is."""
        passed = max(0.0, now - self._at)
        self._left = min(self._most, self._left + passed * self._rate)
        self._at = max(self._at, now)
        return max(0.0, (1 - self._left) / self._rate)

    def owe(self) -> None:
        """Take one, also if there is none: it is paid back before there is another."""
        self._left -= 1

    def take(self, now: float) -> float:
        """Take one; 0, or the seconds until there is one."""
        wait = self.wait(now)
        if not wait:
            self.owe()
        return wait


class Buckets:
    """One bucket for each address; those used least are forgotten when it gets full."""

    def __init__(self, per_minute: int, most: int = MOST_ADDRESSES) -> None:
        self._per_minute = per_minute
        self._buckets: LRUCache[str | None, Bucket] = LRUCache(most)

    def of(self, address: str | None, now: float) -> Bucket:
        """The bucket of this address, a full one if it is new."""
        key = bucket_key(address)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(self._per_minute, now)
        return bucket


class Limits:
    """The limits of one web process. Used from one event loop: it has no locks."""

    def __init__(
        self,
        trigger_limit: int = Settings.trigger_limit,
        trusted: Iterable[Network] = (),
        clock: Clock = system_clock,
    ) -> None:
        self._clock = clock
        self._trusted = tuple(trusted)
        now = clock.monotonic()
        self._failures = Buckets(FAILURES_OF_ONE)
        self._all_failures = Bucket(FAILURES_OF_ALL, now)
        self._unknown = Buckets(UNKNOWN_IDS_OF_ONE)
        self._triggers = Bucket(trigger_limit, now)

    @classmethod
    def of(cls, settings: Settings, clock: Clock = system_clock) -> "Limits":
        """The limits that the settings say."""
        return cls(settings.trigger_limit, settings.trusted_proxies, clock)

    def address(self, peer: str | None, forwarded: Iterable[str] = ()) -> str | None:
        """The address to hold a request against; `forwarded`: X-Forwarded-For."""
        return client_address(peer, forwarded, self._trusted)

    def failed(self, address: str | None) -> None:
        """Count a request without a right token. Raises Problem 429 beyond the limit.

        Only for those that are refused anyway: a right token always gets through, so
        that nobody locks out a cron service which shares an address.
        """
        now = self._clock.monotonic()
        wait = self._failures.of(address, now).take(now) or self._all_failures.take(now)
        _enough(wait, "Too many requests without a valid token came from here")

    def triggered(self) -> None:
        """Count a trigger that goes to Redis. Raises Problem 429 beyond the limit."""
        wait = self._triggers.take(self._clock.monotonic())
        _enough(wait, "More triggers came than SMARTWORKER_TRIGGER_LIMIT allows")

    def may_look(self, address: str | None) -> None:
        """Raises Problem 429 for who has asked for too many tasks that do not exist."""
        now = self._clock.monotonic()
        wait = self._unknown.of(address, now).wait(now)
        _enough(wait, "Too many unknown tasks were asked for from here")

    def not_found(self, address: str | None) -> None:
        """Count a look at a task that does not exist, as far as is known."""
        self._unknown.of(address, self._clock.monotonic()).owe()


def client_address(
    peer: str | None, forwarded: Iterable[str], trusted: Iterable[Network]
) -> str | None:
    """Who sent a request: the peer, or whom trusted proxies name.

    Each proxy adds the address it was called from at the end of X-Forwarded-For, so
    the last one that is no trusted proxy is the only one nobody could make up.
    """
    networks = tuple(trusted)
    found = _address(peer or "")
    if found is None:
        return peer
    hops = [hop for line in forwarded for hop in line.split(",")]
    while hops and any(found in network for network in networks):
        hop = _address(hops.pop())
        if hop is None:
            break
        found = hop
    return str(found)


def bucket_key(address: str | None) -> str | None:
    """What counts as one address: an IPv6 network of 64 bits belongs to one host."""
    found = _address(address or "")
    if isinstance(found, IPv6Address):
        return str(ip_network((int(found), 64), strict=False))
    return address


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in a text such as 1.2.3.4, 1.2.3.4:80 or [::1]:80."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _enough(wait: float, what: str) -> None:
    if wait:
        seconds = ceil(wait)
        raise Problem(
            429,
            f"{what}: wait {seconds} s, as Retry-After says.",
            {"Retry-After": str(seconds)},
        )
