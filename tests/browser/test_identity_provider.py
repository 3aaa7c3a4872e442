from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from crewmesh_gateway.oidc.settings import CALLBACK_PATH
from tests.browser.console import Console
from tests.browser.gateway import second_gateway
from tests.e2e.conftest import Mesh
from tests.oidc_server import CLIENT_ID, CLIENT_SECRET, serving_oidc

pytestmark = pytest.mark.long


async def test_people_sign_in_by_their_provider_and_are_where_they_wanted_to_be(
    chromium: Browser, mesh: Mesh, tmp_path: Path
) -> None:
    async with serving_oidc() as provider:
        settings = {
            "CREWMESH_OIDC_ISSUER": provider.issuer,
            "CREWMESH_OIDC_CLIENT_ID": CLIENT_ID,
            "CREWMESH_OIDC_CLIENT_SECRET": CLIENT_SECRET,
            "CREWMESH_OIDC_REDIRECT_URI": "{url}" + CALLBACK_PATH,
            "CREWMESH_OIDC_LABEL": "Example ID",
            "CREWMESH_OIDC_ROLE": "developer",
        }
        async with (
            second_gateway(mesh, tmp_path, **settings) as gateway,
            Console.opened(chromium, gateway.url, provider=provider.issuer) as console,
        ):
            button = console.page.get_by_role("link", name="Sign in with Example ID")
            provider.person = {"sub": "eve", "email": "eve@example.org"}
            await console.open("/crews/hello?tab=definition")
            await button.click()
            await expect(console.page.get_by_role("alert")).to_contain_text("Verify it there first")
            assert await console.context.cookies() == []

            provider.person["email_verified"] = True
            await console.open("/crews/hello?tab=definition")
            await button.click()
            await console.heading("hello")
            await expect(console.page.get_by_role("tab", name="Definition")).to_have_attribute(
                "aria-selected", "true"
            )
            await expect(console.page.get_by_text("eve@example.org")).to_be_visible()
            (cookie,) = await console.context.cookies()
            assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
