"""The tables, in SQLite or in the Postgres of DATABASE_URL."""

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from smartworker.errors import SettingsError

DEFAULT_URL = "sqlite:///league.sqlite3"
#: Seconds that SQLite waits for another writer.
LOCK_SECONDS = 10

metadata = sa.MetaData()

season = sa.Table(
    "league_season",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("starts", sa.Date, nullable=False),
    sa.Column("weeks", sa.Integer, nullable=False),
    sa.Column("meetings", sa.Integer, nullable=False),
    sa.Column("game_minutes", sa.Integer, nullable=False),
    sa.Column("rest_days", sa.Integer, nullable=False),
    sa.Column("balance", sa.Integer, nullable=False),
)
venues = sa.Table(
    "league_venues",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("fields", sa.Integer, nullable=False),
)
openings = sa.Table(
    "league_openings",
    metadata,
    sa.Column("venue", sa.ForeignKey("league_venues.id"), primary_key=True),
    sa.Column("weekday", sa.Integer, primary_key=True),
    sa.Column("opens", sa.Time, primary_key=True),
    sa.Column("closes", sa.Time, nullable=False),
)
closures = sa.Table(
    "league_closures",
    metadata,
    sa.Column("venue", sa.ForeignKey("league_venues.id"), primary_key=True),
    sa.Column("date", sa.Date, primary_key=True),
)
teams = sa.Table(
    "league_teams",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("division", sa.String(100), nullable=False),
    sa.Column("venue", sa.ForeignKey("league_venues.id"), nullable=False),
)
absences = sa.Table(
    "league_absences",
    metadata,
    sa.Column("team", sa.ForeignKey("league_teams.id"), primary_key=True),
    sa.Column("date", sa.Date, primary_key=True),
)
schedules = sa.Table(
    "league_schedules",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("validation", sa.JSON, nullable=False),
    # A number must never come back: runs refer to it.
    sqlite_autoincrement=True,
)
#: Names as they were when the schedule was made.
games = sa.Table(
    "league_games",
    metadata,
    sa.Column("schedule", sa.ForeignKey("league_schedules.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("division", sa.String(100), nullable=False),
    sa.Column("home_team", sa.String(100), nullable=False),
    sa.Column("away_team", sa.String(100), nullable=False),
    sa.Column("venue", sa.String(100), nullable=False),
    sa.Column("date", sa.Date, nullable=False),
    sa.Column("time", sa.Time, nullable=False),
)
#: What was asked for; the first of `done` and `cancelled` wins.
runs = sa.Table(
    "league_runs",
    metadata,
    sa.Column("task_id", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("schedule", sa.ForeignKey("league_schedules.id")),
    sa.Column("error", sa.Text),
)


def connect(url: str | None) -> sa.Engine:
    """An engine for DATABASE_URL, with all tables. Raises SettingsError."""
    url = (url or "").strip() or DEFAULT_URL
    try:
        found = sa.make_url(url)
        if found.drivername == "postgres":  # as Heroku and Render write it
            found = found.set(drivername="postgresql")
        is_sqlite = found.get_backend_name() == "sqlite"
        engine = sa.create_engine(
            found,
            # Nothing is held open between two calls, so it survives a fork.
            poolclass=sa.NullPool,
            connect_args={"timeout": LOCK_SECONDS} if is_sqlite else {},
        )
        _create(engine)
    except (ArgumentError, ImportError, SQLAlchemyError) as error:
        raise SettingsError(
            f"DATABASE_URL cannot be used: {type(error).__name__}; write "
            "sqlite:///league.sqlite3 or postgresql://user:password@host/name, and "
            "install its driver."
        ) from error
    return engine


def _create(engine: sa.Engine) -> None:
    """Make the tables, unless another process just does."""
    try:
        metadata.create_all(engine)
    except SQLAlchemyError:
        if not sa.inspect(engine).has_table(runs.name):
            raise
        metadata.create_all(engine)
