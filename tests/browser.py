"""A real Chromium for tests of pages; a page that complains fails its test.

Use `open_page(...)`, and look at `problems(page)` for what axe-core finds serious.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.programs import program

OpenPage = Callable[..., Page]
PHONE = {"width": 390, "height": 844}
SMALL_PHONE = {"width": 360, "height": 640}
DESK = {"width": 1200, "height": 900}
#: Of the four grades of axe-core, those that keep somebody from using a page.
SERIOUS = ("serious", "critical")


# Playwright keeps an event loop in this thread while it runs, so other modules, which
# may want loops of their own, must not find it.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window, once for a module of tests."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program("chromium"), args=["--no-sandbox"]
        )
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens an address: `open_page(url, viewport=PHONE, color_scheme="dark")`.

    The options are those of a browser context. At the end of the test each error in the
    console (a request that failed is one) and each uncaught error fails it; a page that
    is meant to have some takes them out of `page.complaints`.
    """
    contexts = []
    complaints: list[list[str]] = []

    def open_one(url: str, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": DESK, **options})
        contexts.append(context)
        page = context.new_page()
        page.complaints = listen(page)  # type: ignore[attr-defined]
        complaints.append(page.complaints)  # type: ignore[attr-defined]
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert [found for each in complaints for found in each] == []


def listen(page: Page) -> list[str]:
    """What the page complains of, filled while it lives."""
    found: list[str] = []
    page.on(
        "console",
        lambda said: found.append(said.text) if said.type == "error" else None,
    )
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def problems(page: Page) -> list[str]:
    """What axe-core finds serious or critical, one line for each element."""
    violations = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['help']}: {node['html']}"
        for each in violations
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]


def overflow(page: Page) -> int:
    """How many pixels the page is wider than its viewport; 0: nothing to scroll."""
    wider: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return wider
