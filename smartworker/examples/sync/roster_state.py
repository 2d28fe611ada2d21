"""The books of the roster service: schedules, employees, keys, and what happened."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = tuple[int, dict[str, Any]]
PAGE = 100


class Refusal(Exception):
    """A request that is not served: a status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Books:
    """Everything that the roster service remembers; a journal file survives a kill."""

    def __init__(self, journal: Path | None = None) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._schedules: dict[str, dict[str, str]] = {}
        self._employees: dict[str, str] = {}
        self._answers: dict[str, Answer] = {}
        #: Each change that was made, once, in its order.
        self.events: list[dict[str, Any]] = []
        self.replays = 0
        if journal is not None and journal.exists():
            for line in journal.read_text(encoding="utf-8").splitlines():
                event = json.loads(line)
                self._make(event)
                self._remember(event)

    def create(self, key: str, fields: dict[str, str]) -> Answer:
        """Make a schedule, under an id of ours."""

        def event() -> dict[str, Any]:
            number = f"R{1001 + len(self.events)}"
            wanted = ("reference", "event", "employee", "starts_at")
            return {"id": number, "fields": {name: fields[name] for name in wanted}}

        return self._once("create", key, event)

    def update(self, key: str, number: str, fields: dict[str, str]) -> Answer:
        """Change an employee, a time, or both."""
        if not fields or not fields.keys() <= {"employee", "starts_at"}:
            raise Refusal(422, "Only employee and starts_at can be changed.")
        return self._once("update", key, lambda: self._known(number, fields))

    def delete(self, key: str, number: str) -> Answer:
        """Forget a schedule."""
        return self._once("delete", key, lambda: self._known(number, {}))

    def employee(self, key: str, number: str, name: str) -> Answer:
        """Learn who an employee is."""
        return self._once(
            "employee", key, lambda: {"id": number, "fields": {"name": name}}
        )

    def find(self, reference: str) -> dict[str, Any]:
        """The schedules with this reference."""
        with self._lock:
            found = [each for each in self._list() if each["reference"] == reference]
        return {"schedules": found, "total": len(found)}

    def page(self, after: str) -> dict[str, Any]:
        """A page of all schedules, those after an id."""
        with self._lock:
            everything = self._list()
        found = [each for each in everything if _rank(each["id"]) > _rank(after)]
        return {"schedules": found[:PAGE], "total": len(everything)}

    def _list(self) -> list[dict[str, str]]:
        numbers = sorted(self._schedules, key=_rank)
        return [{"id": number, **self._schedules[number]} for number in numbers]

    def _known(self, number: str, fields: dict[str, str]) -> dict[str, Any]:
        if number not in self._schedules:
            raise Refusal(404, f"There is no schedule {number}.")
        return {"id": number, "fields": fields}

    def _once(
        self, action: str, key: str, event_of: Callable[[], dict[str, Any]]
    ) -> Answer:
        if not key:
            raise Refusal(400, "The header Idempotency-Key is missing.")
        with self._lock:
            if key in self._answers:
                self.replays += 1
                return self._answers[key]
            event = {"action": action, "key": key, **event_of()}
            if self._journal is not None:
                with self._journal.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(event) + "\n")
            self._make(event)
            return self._remember(event)

    def _make(self, event: dict[str, Any]) -> None:
        number, fields = event["id"], event["fields"]
        match event["action"]:
            case "create":
                self._schedules[number] = dict(fields)
            case "update":
                self._schedules[number].update(fields)
            case "delete":
                del self._schedules[number]
            case "employee":
                self._employees[number] = fields["name"]
        self.events.append(event)

    def _remember(self, event: dict[str, Any]) -> Answer:
        answer = 200, {"id": event["id"]}
        if event["action"] == "create":
            answer = 201, {**answer[1], "reference": event["fields"]["reference"]}
        self._answers[event["key"]] = answer
        return answer


def _rank(number: str) -> int:
    return int(number[1:]) if number[:1] == "R" and number[1:].isdigit() else 0
