"""`python -m smartworker.examples.lessons`: everything on this machine, as one."""

import os
from tempfile import TemporaryDirectory

from smartworker.examples.lessons.mail_server import HOST
from smartworker.examples.lessons.seeds import PASSWORD
from smartworker.examples.run import Part, run
from smartworker.store.server import free_port

GREETING = f"""
The marketplace answers at $address and Ctrl-C stops it.

Begin a session; its token goes into TOKEN:
  curl -X POST -H 'Content-Type: application/json' -d '{{"email": "ann@example.com", "password": "{PASSWORD}"}}' $address/api/sessions
Book a lesson, and see what has become of it; the letters are kept in
%s:
  curl -X POST -H "Authorization: Bearer $$TOKEN" $address/api/lessons/1/book
  curl -H "Authorization: Bearer $$TOKEN" $address/api/bookings
  curl -H "Authorization: Bearer $$TOKEN" $address/api/notifications
Have the health checked, as a cron service does each minute:
  curl -X POST -H 'Authorization: Bearer $token' $address/api/cron/check-health
  curl $address/api/health
"""  # noqa: E501 - lines to copy


def main() -> None:
    """Start all, with a mail server of its own unless LESSONS_MAIL_URL is set."""
    with TemporaryDirectory(prefix="lessons-mail-") as scratch:
        letters = os.environ.get("LESSONS_MAIL_DIRECTORY") or f"{scratch}/letters"
        environment, parts = {}, []
        if not os.environ.get("LESSONS_MAIL_URL"):
            port = free_port()
            environment["LESSONS_MAIL_URL"] = f"smtp://{HOST}:{port}"
            command = [f"{__package__}.mail_server", "--port", str(port)]
            command += ["--directory", letters]
            if busy := os.environ.get("LESSONS_MAIL_BUSY"):
                command += ["--busy", busy]
            parts.append(Part("mail server", tuple(command), backing=True, port=port))
        greeting = GREETING.replace("%s", letters)
        run("lessons", greeting=greeting, parts=parts, environment=environment)


if __name__ == "__main__":
    main()
