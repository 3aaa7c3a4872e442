"""A real browser before a real mesh."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, StorageState, async_playwright, expect

from tests.browser.chromium import FLAGS, chromium_path
from tests.browser.console import Console
from tests.e2e.conftest import Mesh, running_mesh

# The machine may be busy; nothing here is about time.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    path = chromium_path()
    if path is None:
        pytest.skip("chromium isn't installed: `apt-get install chromium` has these tests run")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
async def mesh(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """One mesh for all tests in this process; not started where there is no browser."""
    async with running_mesh(tmp_path_factory.mktemp("mesh")) as running:
        yield running


@pytest.fixture(scope="session")
async def owner(chromium: Browser, mesh: Mesh) -> StorageState:
    """The session of the owner, who has signed in with their key once."""
    async with Console.opened(chromium, mesh.url) as console:
        await console.sign_in(mesh.api_key)
        return await console.context.storage_state()


@pytest.fixture
async def stranger(chromium: Browser, mesh: Mesh) -> AsyncIterator[Console]:
    """A browser in which nobody has signed in."""
    async with Console.opened(chromium, mesh.url) as console:
        yield console


@pytest.fixture
async def console(chromium: Browser, mesh: Mesh, owner: StorageState) -> AsyncIterator[Console]:
    """A browser in which the owner has signed in; it has no page open yet."""
    async with Console.opened(chromium, mesh.url, state=owner) as console:
        yield console
