"""The console as a person uses it: by what it shows, not by how it is made."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    StorageState,
    expect,
)

# A 401 or 503 that a test provokes is written to the browser's log by the browser itself.
_OF_THE_BROWSER = re.compile(r"Failed to load resource")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 800}


class Console:
    """One browser window, which keeps what it asked for and what went wrong in it."""

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context = context
        self.page = page
        self.url = url
        self.hosts: set[str] = set()
        self.faults: list[str] = []
        context.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._hear)

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls,
        browser: Browser,
        url: str,
        scheme: Literal["light", "dark"] = "light",
        size: Any = DESK,
        provider: str = "",
        state: StorageState | None = None,
    ) -> AsyncIterator[Console]:
        """Open a window of its own; when it is closed, nothing may have gone wrong in it.

        With a `state` of another window it has that one's session.
        """
        context = await browser.new_context(
            base_url=url,
            viewport=size,
            color_scheme=scheme,
            reduced_motion="reduce",
            storage_state=state,
        )
        console = cls(context, await context.new_page(), url)
        try:
            yield console
        finally:
            await context.close()
        assert not console.faults, console.faults
        assert console.hosts <= {urlsplit(url).netloc, urlsplit(provider).netloc}, console.hosts

    async def sign_in(self, api_key: str) -> None:
        await self.page.goto("/")
        await self.page.get_by_label("API key", exact=True).fill(api_key)
        await self.page.get_by_role("button", name="Sign in").click()
        await self.heading("Runs")

    async def open(self, path: str) -> None:
        await self.page.goto(path)

    async def follow(self, path: str) -> None:
        """Go to a page as its link does: without loading all of it again."""
        await self.page.evaluate("path => history.pushState({}, '', path)", path)

    async def heading(self, text: str) -> None:
        await expect(self.page.get_by_role("heading", level=1, name=text)).to_be_visible()

    async def status(self, words: str) -> None:
        """Wait until the run that is shown is in this state."""
        await expect(self.page.locator("h1 .status")).to_have_text(words)

    async def tab(self, name: str) -> None:
        await self.page.get_by_role("tab", name=name).click()

    async def choose(self, label: str, option: str) -> None:
        await self.page.get_by_label(label, exact=True).select_option(option)

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    @property
    def run_id(self) -> str:
        """The run that is shown."""
        return urlsplit(self.page.url).path.rsplit("/", 1)[-1]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not _OF_THE_BROWSER.search(message.text):
            self.faults.append(message.text)
