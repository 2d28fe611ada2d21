"""Request bodies: how much is read, and for how long."""

import asyncio

from starlette.requests import Request

from smartworker.web.problems import Problem

LARGEST_BODY = 64 * 1024
# A refused body is still read up to here: closing the connection on a client that
# is sending would take the answer away from it.
LARGEST_DRAIN = 1024 * 1024
DEADLINE_SECONDS = 10.0


async def read_body(request: Request) -> bytes:
    """The body. Raises Problem 413 if it is too large, 408 if it takes too long."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await _read(request)
    except TimeoutError as error:
        raise Problem(408, "The body did not arrive in time.") from error


async def _read(request: Request) -> bytes:
    body = bytearray()
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= LARGEST_BODY:
            body += chunk
        elif size > LARGEST_DRAIN:
            break
    if size > LARGEST_BODY:
        raise Problem(413, f"A body may have {LARGEST_BODY} bytes at most.")
    return bytes(body)
