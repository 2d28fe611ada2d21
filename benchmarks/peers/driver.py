"""Queues tasks with the `app.py` of the folder it runs in, one order a line.

`{"do": "noop", "count": 500, "size": 0, "group": false}` answers `{"seconds": …}`;
`{"do": "stamp", "series": "a"}` queues one task that notes how late it began;
`{"do": "call", "name": "state", "arguments": ["id"]}` answers what that function of the
`app.py` returns, as `answer`.
An `app.py` gives `noop(payload)` and `stamp(series, sent)`; `many(count, payload)`
where the peer queues several in one call (a group is so many single calls where it does
not), and `ready()` where it has to connect first. Each may be a coroutine function.
"""

import asyncio
import inspect
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import app


async def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Its answer, whether it is a coroutine function or not."""
    answer = function(*arguments)
    return await answer if inspect.isawaitable(answer) else answer


async def obey(order: dict[str, Any]) -> dict[str, Any]:
    """Do what an order says; what there is to tell."""
    begun = time.perf_counter()
    match order.pop("do"):
        case "ready":
            if hasattr(app, "ready"):
                await call(app.ready)
        case "noop":
            payload = "x" * order["size"]
            if order["group"] and hasattr(app, "many"):
                await call(app.many, order["count"], payload)
            else:
                for _ in range(order["count"]):
                    await call(app.noop, payload)
        case "stamp":
            await call(app.stamp, order["series"], time.time())
        case "call":
            # What only one peer has, by name.
            answer = await call(getattr(app, order["name"]), *order["arguments"])
            return {"answer": answer, "seconds": time.perf_counter() - begun}
    return {"seconds": time.perf_counter() - begun}


def main() -> None:
    """Until the standard input ends; one loop, so that clients stay connected."""
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            answer = runner.run(obey(json.loads(line)))
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
