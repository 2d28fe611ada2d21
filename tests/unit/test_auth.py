"""Bearer tokens: who may call which job."""

from hashlib import sha256

import pytest

from smartworker.cron.auth import Role, Tokens, bearer
from smartworker.errors import SettingsError

ALL = "a" * 40
OWN = "b" * 40
ADMIN = "c" * 40


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


def hashed(secret: str) -> str:
    """A token as it may stand in the settings."""
    return f"sha256={sha256(secret.encode()).hexdigest()}"


def test_a_hashed_token_opens_by_what_was_hashed() -> None:
    """The hash itself opens nothing: who reads the settings cannot call."""
    tokens = Tokens.parse([hashed(ALL), f"one:{hashed(OWN)}"], hashed(ADMIN))
    assert tokens.role("two", ALL.encode()) is Role.JOB
    assert tokens.role("one", OWN.encode()) is Role.JOB
    assert tokens.role("two", OWN.encode()) is Role.OTHER
    assert tokens.role("two", ADMIN.encode()) is Role.ADMIN
    assert tokens.role("one", hashed(ALL).encode()) is Role.NONE
    assert tokens.role("one", sha256(ALL.encode()).digest()) is Role.NONE


@pytest.mark.parametrize("entry", ["sha256=", "one:sha256=abc", hashed(ALL) + "a"])
def test_a_hash_that_is_none_is_refused(entry: str) -> None:
    """It would be a token that nobody knows."""
    with pytest.raises(SettingsError, match="64 hexadecimal digits"):
        Tokens.parse([entry])


def test_the_admin_token_manages_and_opens_every_job() -> None:
    """Where there is one, no other token manages."""
    tokens = Tokens.parse([ALL, f"one:{OWN}"], ADMIN)
    assert tokens.role("one", ADMIN.encode()) is Role.ADMIN
    assert tokens.role(None, ADMIN.encode()) is Role.ADMIN
    assert tokens.allow("two", ADMIN.encode())
    assert tokens.role("one", ALL.encode()) is Role.JOB
    assert tokens.role("one", OWN.encode()) is Role.JOB


def test_without_an_admin_token_one_for_all_jobs_manages() -> None:
    """A small site has one token; one of a single job never manages."""
    tokens = Tokens.parse([ALL, f"one:{OWN}"])
    assert tokens.role("one", ALL.encode()) is Role.ADMIN
    assert tokens.role(None, ALL.encode()) is Role.ADMIN
    assert tokens.role("one", OWN.encode()) is Role.JOB


def test_a_token_of_another_job_is_known() -> None:
    """On a management route it is 403, and one that is not known is 401."""
    tokens = Tokens.parse([f"one:{OWN}"], ADMIN)
    assert tokens.role("two", OWN.encode()) is Role.OTHER
    assert tokens.role(None, OWN.encode()) is Role.OTHER
    assert tokens.role("one", b"x") is Role.NONE
    assert tokens.role("one", b"") is Role.NONE


def test_an_admin_token_alone_is_enough() -> None:
    """It opens all jobs, and a colon in it is part of it."""
    tokens = Tokens.parse([], f"one:{ADMIN}")
    assert tokens
    assert tokens.jobs == frozenset()
    assert tokens.role("two", f"one:{ADMIN}".encode()) is Role.ADMIN
    assert tokens.role("one", ADMIN.encode()) is Role.NONE


@pytest.mark.parametrize(
    ("role", "trigger", "manage"),
    [
        (Role.ADMIN, True, True),
        (Role.JOB, True, False),
        (Role.OTHER, False, False),
        (Role.NONE, False, False),
    ],
)
def test_what_a_role_may_do(role: Role, trigger: bool, manage: bool) -> None:
    """Managing includes starting, and not the other way round."""
    assert (role.may_trigger, role.may_manage) == (trigger, manage)
