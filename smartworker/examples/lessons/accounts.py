"""Who is who: people, passwords and sessions."""

import hashlib
import secrets

import sqlalchemy as sa

from smartworker.examples.lessons.rules import HOUR
from smartworker.examples.lessons.tables import people, sessions

SESSION_SECONDS = 12 * HOUR
# Enough for an example, and quick enough for its tests.
_COST = {"n": 2**12, "r": 8, "p": 1}


def hashed(password: str, salt: str | None = None) -> str:
    """A password as it is kept."""
    salt = salt or secrets.token_hex(16)
    made = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), **_COST)
    return f"{salt}${made.hex()}"


def log_in(rows: sa.Connection, email: str, password: str, now: int) -> str | None:
    """The token of a new session; None if that is not the password."""
    query = sa.select(people.c.id, people.c.password).where(people.c.email == email)
    found = rows.execute(query).first()
    # Somebody unknown is worked for, too: the time tells nobody who is a member.
    kept = found.password if found else _NOBODY
    right = secrets.compare_digest(hashed(password, kept.partition("$")[0]), kept)
    if found is None or not right:
        return None
    token = secrets.token_urlsafe(32)
    values = {"person": found.id, "expires_at": now + SESSION_SECONDS}
    rows.execute(sessions.insert().values(token=_digest(token), **values))
    return token


def who(rows: sa.Connection, token: str, now: int) -> int | None:
    """Whose session this is."""
    query = sa.select(sessions.c.person).where(
        sessions.c.token == _digest(token), sessions.c.expires_at > now
    )
    return rows.scalar(query)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


_NOBODY = hashed(secrets.token_hex(8))
