"""`python -m smartworker.examples.sync`: everything on this machine, as one."""

from smartworker.cli.recipe import Part
from smartworker.examples.run import run
from smartworker.store.server import HOST, free_port

JSON = "-H 'Content-Type: application/json'"
FIRST = (
    '{"event_id": "E-1", "employee_id": "ann", "employee_name": "Ann Lee", '
    '"start": "2026-11-21T09:30"}'
)
SECOND = '{"schedule_id": 1, "start": "2026-11-21T14:00"}'
GREETING = f"""
The schedules answer at $address and Ctrl-C stops it.

Save a schedule; the answer says where to ask what became of it:
  curl {JSON} -d '{FIRST}' $address/save_schedule
Move it, and take it back:
  curl {JSON} -d '{SECOND}' $address/api/reschedule
  curl -X DELETE $address/api/unschedule/1
Send what waits and compare everything, as the hourly cron job does:
  curl -X POST -H 'Authorization: Bearer $token' $address/worker/api/cron/refresh
What the roster service has heard, and how to change its mood (good, slow, down,
failing, losing, nonsense, limited, moody):
  curl ROSTER/log
  curl -X PUT -d '{{"mood": "down", "share": 1.0}}' ROSTER/mood
"""


def main() -> None:
    """Run the example with a roster service of its own."""
    port = free_port()
    roster = f"http://{HOST}:{port}"
    command = ("smartworker.examples.sync.roster", "--port", str(port))
    run(
        "sync",
        greeting=GREETING.replace("ROSTER", roster),
        parts=(Part("roster service", command, backing=True, port=port),),
        environment={"SYNC_ROSTER_URL": roster},
        workers={"worker": ("-c", "4")},
    )


if __name__ == "__main__":
    main()
