"""`python -m smartworker.examples.league`: everything on this machine, as one."""

from smartworker.examples.run import run

GREETING = """
The league answers at $address and Ctrl-C stops it.

Make a new schedule, or without force_regenerate take the one that is stored:
  curl -X POST $address/api/schedule/async -H 'Content-Type: application/json' \
-d '{"force_regenerate": true}'
Ask how far it is and for the games, with the task_id of that answer:
  curl $address/api/schedule/status/<task_id>
Cancel it:
  curl -X DELETE $address/api/schedule/status/<task_id>
Make one as the weekly cron call does:
  curl -X POST $address/api/cron/weekly-schedule -H 'Authorization: Bearer $token'
"""


def main() -> None:
    """Run the example until a signal comes."""
    # One core makes one schedule at a time.
    run("league", greeting=GREETING, workers={"worker": ("-P", "solo")})


if __name__ == "__main__":
    main()
