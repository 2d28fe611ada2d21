"""`python -m smartworker.examples.swim`: everything on this machine, as one."""

import os

from smartworker.examples.run import Part, run
from smartworker.store.server import HOST, free_port

FACILITY = "smartworker.examples.swim.facility"
GREETING = """
The swim lanes are at $address and Ctrl-C stops it.

Book tomorrow's lanes, as the cron service does at 20:55:
  curl -X POST -H 'Authorization: Bearer $token' $address/api/cron_schedule_swim_lanes
Ask how it goes, with the task_id of that answer:
  curl $address/api/task-status/<task_id>
Who swims, and what is booked?
  curl -H 'Authorization: Bearer $token' $address/api/members
  curl -H 'Authorization: Bearer $token' $address/api/bookings
Add a member, and book for this one alone:
  curl -X PUT -H 'Authorization: Bearer $token' -H 'Content-Type: application/json' \
-d '{"password": "fast", "preferences": [{"pool": "Main", "time": "18:00"}]}' \
$address/api/members/cleo
  curl -X POST -H 'Authorization: Bearer $token' -H 'Content-Type: application/json' \
-d '{"date": "<date>"}' $address/api/members/cleo/bookings
"""


def main() -> None:
    """Run the example until a signal comes.

    The facility is one of our own, unless SWIM_FACILITY_URL names another; SWIM_RELEASE
    says when it releases its slots: `always`, 21:00, or a moment with its offset.
    """
    parts, environment = [], {}
    if not os.environ.get("SWIM_FACILITY_URL"):
        port = str(free_port())
        release = os.environ.get("SWIM_RELEASE") or "always"
        command = (FACILITY, "--port", port, "--release", release, "--registers")
        parts.append(Part("swim facility", command, backing=True))
        environment["SWIM_FACILITY_URL"] = f"http://{HOST}:{port}"
    run("swim", greeting=GREETING, parts=parts, environment=environment)


if __name__ == "__main__":
    main()
