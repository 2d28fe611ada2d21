"""Sends letters: a conversation in SMTP."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from urllib.parse import SplitResult, unquote, urlsplit

from smartworker.errors import SettingsError

#: Seconds that the mail server may take for one answer.
PATIENCE = 10.0


class LetterRefused(Exception):
    """The mail server will never take this letter; the text is its answer."""


class Post:
    """A mail server, such as smtp://127.0.0.1:2525 or smtps://user:secret@host."""

    def __init__(self, address: str) -> None:
        self._parts = _read(address)

    def send(self, letter: EmailMessage) -> None:
        """Hand a letter over. Raises LetterRefused, or what passes by itself."""
        with self._connected() as server, _refusals():
            server.send_message(letter)

    def check(self) -> None:
        """Raises what `send` would raise if the server is away."""
        with self._connected() as server:
            server.noop()

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        host, port = self._parts.hostname or "", self._parts.port or 0
        secure = ssl.create_default_context()
        server = (
            smtplib.SMTP_SSL(host, port, timeout=PATIENCE, context=secure)
            if self._parts.scheme == "smtps"
            else smtplib.SMTP(host, port, timeout=PATIENCE)
        )
        with server:
            if self._parts.username:
                if self._parts.scheme == "smtp":
                    server.starttls(context=secure)
                password = unquote(self._parts.password or "")
                server.login(unquote(self._parts.username), password)
            yield server


@contextmanager
def _refusals() -> Iterator[None]:
    """A 5xx is the last word; everything else may go better the next time."""
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        _give_up(code, text, error)
        raise
    except smtplib.SMTPResponseException as error:
        _give_up(error.smtp_code, error.smtp_error, error)
        raise


def _give_up(code: int, text: bytes | str, error: Exception) -> None:
    if code >= 500:
        said = text.decode(errors="replace") if isinstance(text, bytes) else text
        raise LetterRefused(f"{code} {said}") from error


def _read(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        known = parts.port is None or parts.port > 0
    except ValueError:
        parts, known = urlsplit(""), False
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or not known:
        raise SettingsError(
            "LESSONS_MAIL_URL is no address of a mail server: write "
            "smtp://host:port or smtps://user:password@host."
        )
    return parts
