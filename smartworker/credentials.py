"""The secrets that callers prove themselves with: their form, and what is refused."""

from base64 import b64decode
from collections.abc import Iterable
from hashlib import sha256

from smartworker.errors import SettingsError

SHORTEST_TOKEN = 32
SHORTEST_KEY_BYTES = 24
HASHED = "sha256="
SIGNING = "whsec_"
TOKENS = "SMARTWORKER_CRON_TOKENS"
ADMIN = "SMARTWORKER_ADMIN_TOKEN"
SECRETS = "SMARTWORKER_WEBHOOK_SECRETS"
QSTASH = ("QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY")

# Words of at least eight letters: a random token does not contain one by chance.
_PLACEHOLDERS = (
    "changeme",
    "replaceme",
    "replacethis",
    "placeholder",
    "yourtoken",
    "yoursecret",
    "yourcron",
    "yourrandom",
    "youradmin",
    "insertyour",
    "putyour",
    "secrettoken",
    "supersecret",
    "exampletoken",
    "password",
    "correcthorse",
)
_EMPTY = sha256(b"").digest()


def split(entry: str) -> tuple[str | None, str]:
    """The job of an entry `job:secret`, or None for all jobs, and the secret."""
    job, _, secret = entry.strip().rpartition(":")
    return job or None, secret


def digest_of(secret: str) -> bytes:
    """The SHA-256 of a token, or what stands behind `sha256=`.

    Raises SettingsError for a hash that is none.
    """
    if not secret.startswith(HASHED):
        return sha256(secret.encode("utf-8", "surrogateescape")).digest()
    figures = secret.removeprefix(HASHED)
    try:
        digest = bytes.fromhex(figures)
    except ValueError:
        digest = b""
    if len(figures) != 2 * len(digest) or len(digest) != sha256().digest_size:
        raise SettingsError(
            f"A token in {TOKENS} or {ADMIN} starts with sha256= and is not followed "
            "by 64 hexadecimal digits: `printf %s TOKEN | sha256sum` prints them."
        )
    return digest


def key_of(secret: str) -> bytes:
    """The key inside `whsec_...`. Raises SettingsError if it is malformed or short."""
    try:
        if not secret.startswith(SIGNING):
            raise ValueError(secret)
        key = b64decode(secret.removeprefix(SIGNING), validate=True)
    except ValueError:
        raise SettingsError(
            f"An entry of {SECRETS} is not whsec_ and base64, or a job, a colon and "
            "that: copy it as the sender shows it."
        ) from None
    if len(key) < SHORTEST_KEY_BYTES:
        raise SettingsError(
            f"A secret in {SECRETS} has {len(key)} bytes: at least "
            f"{SHORTEST_KEY_BYTES} are needed; "
            '`echo "whsec_$(openssl rand -base64 32)"` makes one.'
        )
    return key


def check_tokens(entries: Iterable[str], admin: str | None) -> None:
    """Refuse tokens that are short, well known, or the same as another one."""
    seen = set()
    for secret in (split(entry)[1] for entry in entries):
        digest = _check_token(secret)
        if digest in seen:
            raise SettingsError(
                f"{TOKENS} has the same token twice: make one for each entry, with "
                "`openssl rand -hex 32`."
            )
        seen.add(digest)
    if admin is not None and _check_token(admin) in seen:
        raise SettingsError(
            f"{ADMIN} is also a token of {TOKENS}: make another one, with "
            "`openssl rand -hex 32`."
        )


def check_signing(
    secrets: Iterable[str], current: str | None, following: str | None
) -> None:
    """Refuse signing secrets that are malformed or short, and half a pair of keys."""
    for secret in secrets:
        key_of(split(secret)[1])
    if (current is None) != (following is None):
        there, missing = QSTASH if current else QSTASH[::-1]
        raise SettingsError(
            f"{there} is set and {missing} is not: copy both from the QStash console."
        )


def _check_token(secret: str) -> bytes:
    digest = digest_of(secret)
    if not secret.startswith(HASHED) and len(secret) < SHORTEST_TOKEN:
        raise SettingsError(
            f"A token in {TOKENS} or {ADMIN} has "
            f"{len(secret)} characters: at least {SHORTEST_TOKEN} are needed. "
            "`openssl rand -hex 32` makes one."
        )
    letters = "".join(filter(str.isalpha, secret.lower()))
    if digest == _EMPTY or any(word in letters for word in _PLACEHOLDERS):
        raise SettingsError(
            f"A token in {TOKENS} or {ADMIN} is a placeholder that anybody may "
            "guess: replace it by what `openssl rand -hex 32` prints."
        )
    return digest
