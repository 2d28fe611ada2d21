"""The files of the page: read once, found by their exact name."""

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from smartworker.web.problems import Problem

_TYPES = {
    "dashboard.css": "text/css; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Asset:
    """One file: its bytes, its type, and what changes with its content."""

    content: bytes
    media_type: str
    version: str


class Assets:
    """All files by name; a name that is not in the table is not there."""

    def __init__(self) -> None:
        folder = files(__package__) / "static"
        self._assets = {
            name: _asset((folder / name).read_bytes(), media_type)
            for name, media_type in _TYPES.items()
        }

    @property
    def versions(self) -> dict[str, str]:
        """Name -> version, which pages add to the address."""
        return {name: asset.version for name, asset in self._assets.items()}

    def answer(self, request: Request, name: str) -> Response:
        """The file, or 304 for who has it. Raises Problem 404."""
        asset = self._assets.get(name)
        if asset is None:
            raise Problem(404, "There is nothing at this address.")
        tag = f'"{asset.version}"'
        # Its address has the version in it; without one it is asked for again.
        asked = request.query_params.get("v") == asset.version
        headers: dict[str, Any] = {
            "ETag": tag,
            "Cache-Control": (
                "public, max-age=31536000, immutable" if asked else "no-cache"
            ),
            "X-Content-Type-Options": "nosniff",
        }
        known = request.headers.get("if-none-match", "")
        if tag in (each.strip().removeprefix("W/") for each in known.split(",")):
            return Response(status_code=304, headers=headers)
        return Response(asset.content, media_type=asset.media_type, headers=headers)


def _asset(content: bytes, media_type: str) -> Asset:
    return Asset(content, media_type, sha256(content).hexdigest()[:16])
