"""Reading the text of a setting: switches, numbers, lists, files."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from pathlib import Path

Network = IPv4Network | IPv6Network


def choice(choices: tuple[str, ...]) -> Callable[[str], str]:
    """A reader of one of these words, in any case of letters."""

    def check(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(text)
        return text.lower()

    return check


def switch(text: str) -> bool:
    """`on` or `off`. Raises KeyError for anything else."""
    return {"on": True, "off": False}[text.lower()]


def whole(least: int, most: int) -> Callable[[str], int]:
    """A reader of whole numbers in these bounds."""

    def check(text: str) -> int:
        number = int(text)
        if not least <= number <= most:
            raise ValueError(text)
        return number

    return check


def listener(text: str) -> tuple[str, int]:
    """A port on all addresses, or on the one before the colon."""
    host, colon, port = text.rpartition(":")
    if colon:
        IPv4Address(host)
    return host or "0.0.0.0", whole(1, 65_535)(port)  # noqa: S104 - asked for


def names(text: str) -> tuple[str, ...]:
    """What stands between commas, without blanks around it."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks, comma-separated. Raises ValueError."""
    return tuple(ip_network(part, strict=False) for part in names(text))


def file(text: str) -> Path:
    """A file that is there. Raises ValueError for another path."""
    path = Path(text)
    if not path.is_file():
        raise ValueError(text)
    return path
