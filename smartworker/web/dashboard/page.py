"""jinja2's home in the web half: the page and its sections as HTML."""

from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from smartworker.clock import Clock
from smartworker.cron.registry import Jobs
from smartworker.settings import Settings
from smartworker.web.dashboard.assets import Assets
from smartworker.web.dashboard.facts import Facts
from smartworker.web.dashboard.verdict import verdict
from smartworker.web.dashboard.view import Words, view
from smartworker.worker.overview import declared

#: In the order of the page; each is replaced as a whole when it changes.
SECTIONS = (
    "verdict",
    "now",
    "budget",
    "jobs",
    "runs",
    "dead",
    "active",
    "queues",
    "workers",
    "asof",
)
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # With `no-referrer` browsers would hide where our own forms come from, too.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow",
}

Sections = Mapping[str, str]


class Page:
    """Renders each state of the facts once for all who may see the same."""

    def __init__(
        self, settings: Settings, jobs: Jobs, celery_app: Any, clock: Clock
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._app = celery_app
        self._clock = clock
        self.assets = Assets()
        self._environment = Environment(
            loader=FunctionLoader(_template),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["versions"] = self.assets.versions
        self._facts: Facts | None = None
        self._rendered: dict[tuple[bool, bool, bool], Sections] = {}

    def sections(
        self, facts: Facts, *, trusted: bool, detailed: bool, resting: bool = False
    ) -> Sections:
        """The sections by name. `detailed`: with log tails and errors.

        `trusted`: with the buttons. `resting`: strangers get no news for a while.
        """
        if facts is not self._facts:
            self._facts, self._rendered = facts, {}
        key = (trusted, detailed, resting)
        if key not in self._rendered:
            self._rendered[key] = self._render_all(facts, *key)
        return self._rendered[key]

    def whole(self, sections: Sections, **more: Any) -> str:
        """The page around the sections."""
        now = self._clock.now().isoformat(timespec="milliseconds")
        return self.plain("page.html", sections=sections, now=now, **more)

    def plain(self, template: str, **values: Any) -> str:
        """Another page: the sign-in, or what went wrong."""
        return self._environment.get_template(template).render(values)

    def _render_all(
        self, facts: Facts, trusted: bool, detailed: bool, resting: bool
    ) -> Sections:
        now = self._clock.now()
        jobs = (
            []
            if facts.details
            else declared(self._jobs, self._settings, now, app=self._app)
        )
        shown = view(facts, jobs, Words(self._settings, now))
        shown |= {
            "verdict": verdict(shown),
            "trusted": trusted,
            "detailed": detailed,
            "resting": resting,
        }
        return {name: self._render(name, shown) for name in SECTIONS}

    def _render(self, name: str, shown: Mapping[str, Any]) -> str:
        template = self._environment.get_template(f"{name}.html")
        inner = template.render(shown)
        version = sha256(inner.encode()).hexdigest()[:12]
        return f'<section id="{name}" data-version="{version}">\n{inner}\n</section>'


def _template(name: str) -> str:
    folder = files(__package__) / "templates"
    return (folder / name).read_text(encoding="utf-8")
