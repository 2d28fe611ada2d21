"""What can go wrong, by name. The message of each error is one full sentence."""


class SmartworkerError(Exception):
    """Root of all errors that smartworker raises on purpose."""

    exit_status = 1


class SettingsError(SmartworkerError):
    """A setting is missing, misspelled, or has a value that is not allowed."""

    exit_status = 78  # EX_CONFIG of sysexits.h


class BrokerUnreachable(SmartworkerError):
    """The Redis server did not answer at the start."""

    exit_status = 69  # EX_UNAVAILABLE of sysexits.h


class BrokerRefused(SmartworkerError):
    """The Redis server answered, and refused: password, permission, certificate."""

    exit_status = 78


class UnknownJob(SmartworkerError):
    """No cron job has this name."""


class JobError(SmartworkerError, ValueError):
    """A cron job is declared in a way that cannot work."""

    exit_status = 78
