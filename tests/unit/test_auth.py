"""Bearer tokens: who may call which job."""

import pytest

from smartworker.cron.auth import Tokens, bearer

ALL = "a" * 40
OWN = "b" * 40


def test_a_bare_token_opens_every_job() -> None:
    """An entry without a job is valid for all of them."""
    tokens = Tokens.parse([ALL])
    assert tokens.allow("one", ALL.encode())
    assert tokens.allow("two", ALL.encode())


def test_a_token_of_a_job_opens_that_job_alone() -> None:
    """`job:token` is refused for any other job."""
    tokens = Tokens.parse([f"one:{OWN}"])
    assert tokens.allow("one", OWN.encode())
    assert not tokens.allow("two", OWN.encode())
    assert tokens.jobs == {"one"}


def test_two_tokens_are_valid_at_once() -> None:
    """Rotation: the old and the new token work side by side."""
    tokens = Tokens.parse([f"one:{OWN}", f"one:{ALL}"])
    assert tokens.allow("one", OWN.encode())
    assert tokens.allow("one", ALL.encode())


@pytest.mark.parametrize(
    "presented",
    [b"", b"a", ALL.encode()[:-1], ALL.encode() + b"a", "tökën".encode(), b"\xff\x00"],
)
def test_anything_else_is_refused_calmly(presented: bytes) -> None:
    """Wrong bytes, non-ASCII included, are refused and raise nothing."""
    assert not Tokens.parse([ALL]).allow("one", presented)


def test_a_non_ascii_token_works() -> None:
    """A configured token may have any characters."""
    secret = "ü" * 40
    assert Tokens.parse([secret]).allow("one", secret.encode())


def test_a_non_ascii_job_name_is_refused_calmly() -> None:
    """Job names come from URLs and may be anything."""
    assert not Tokens.parse([f"one:{OWN}"]).allow("öne\r\n", OWN.encode())


def test_an_empty_token_never_opens() -> None:
    """Not even when somebody configured an empty one."""
    assert not Tokens.parse(["one:"]).allow("one", b"")


def test_no_token_is_falsy() -> None:
    """The caller can tell `none configured` from `wrong`."""
    assert not Tokens()
    assert Tokens.parse([ALL])


def test_the_secret_does_not_stand_in_the_token() -> None:
    """Only the digest is kept, and `repr` shows neither."""
    token = Tokens.parse([f"one:{OWN}"])._tokens[0]
    assert OWN not in repr(token)
    assert OWN.encode() not in token.digest


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (b"Bearer abc", b"abc"),
        (b"bearer   abc ", b"abc"),
        (b"Basic abc", None),
        (b"Bearer", None),
        (b"Bearer ", None),
        (b"abc", None),
        (None, None),
    ],
)
def test_bearer_reads_the_header(header: bytes | None, token: bytes | None) -> None:
    """The scheme has no case; other schemes carry no token."""
    assert bearer(header) == token
