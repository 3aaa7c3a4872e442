"""What the tutorial and the how-to pages say to type, typed."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Mesh, running_mesh
from tests.measuring import MEASURED

DOCS = ROOT / "docs"
# On a busy machine each command takes seconds.
pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]
_COMMANDS = ("crewmesh ", "curl ", "echo ", "printf ")


@dataclass(frozen=True)
class Page:
    """A page, what stands in for its placeholders, and what isn't typed here, and why not."""

    path: str
    standing_in: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()


_FIRST_ID = '$(crewmesh {} ls --json | python -c \'import json, sys; print([x for x in json.load(sys.stdin)["items"] if {}][0]["id"])\')'

# The last ones change what runs may do.
PAGES = (
    Page("tutorial.md", ((r"\$OPENAI_API_KEY", "sk-of-nobody"),)),
    Page(
        "how-to/people-and-keys.md",
        (
            (r"https://crews\.example\.org", "$URL"),
            (r"secret\.txt", "<(printf '%s' 'correct horse battery staple')"),
            (r"revoke KEY", "revoke " + _FIRST_ID.format("keys", 'x["name"] == "nightly report"')),
            # As who has just logged in, and to the password that is typed after it.
            (r"crewmesh password",
             r"env -u CREWMESH_URL -u CREWMESH_API_KEY crewmesh password <<<$'{0}\\n{0}'".format(
                 "correct horse battery staple")),
            # Whoever is gone can't sign in; what comes after it in the page is typed before.
            ((r"(?s)^(.*?)(crewmesh users set ana@example\.org --disable.*?\n)"
             r"(crewmesh users rm ana@example\.org.*?\n)(.*)$"), r"\1\4\2\3"),
        ),
        # Tokens of the answer before; tests/integration/test_store_identity.py renews and ends them.
        left_out=("refresh_token",),
    ),
    Page("how-to/see-who-did-what.md",
         ((r"128:4f0c\.\.\.", "$(crewmesh audit verify | grep -oE '[0-9]+:[0-9a-f]+' | tail -1)"),)),
    Page(
        "how-to/webhooks.md",
        (
            (r"curl \.\.\.", 'curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json"'),
            (r"whsec_\.\.\.", "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cyE="),
        ),
    ),
    Page("how-to/observe.md", left_out=("crewmesh up",)),
    Page("how-to/limit-an-organisation.md"),
    Page("how-to/confine-runs.md"),
    Page("how-to/find-what-is-wrong.md"),
    Page("how-to/choose-models.md"),
    Page("how-to/budgets.md"),
)  # fmt: skip
# Typed by other tests, each with why it isn't typed here.
ELSEWHERE = {
    "add-a-tool.md": ("tests/e2e/test_how_to.py", "it changes the worker's source"),
    "back-up-and-restore.md": ("tests/e2e/test_backup.py", "it needs a mesh of its own"),
    "bring-a-crew.md": ("tests/e2e/test_crews.py", "with its crews"),
    "call-from-a-service.md": ("tests/e2e/test_mesh.py", "it is a program"),
    "call-from-python.md": ("tests/e2e/test_programs_on_pages.py", "it is a program"),
    "encrypt-the-mesh.md": ("tests/e2e/test_programs_on_pages.py", "it needs a mesh of its own"),
    "hold-a-conversation.md": ("tests/e2e/test_sessions.py", "with its crews"),
    "release.md": ("tests/e2e/test_release.py", "in a copy of the repository"),
    "run-a-local-model.md": ("tests/e2e/test_local_model.py", "it needs a compiler"),
    "serve-existing-projects.md": ("tests/e2e/test_projects.py", "with its projects"),
    "sign-in-by-a-provider.md": ("tests/integration/gateway/test_oidc.py", "it has only settings"),
    "use-it-from-django.md": ("tests/e2e/test_programs_on_pages.py", "it starts a server"),
    # Has nothing to type: what it says to click is clicked in a browser.
    "use-the-console.md": ("tests/browser/test_runs.py", "it needs a browser"),
    # Not done here: each command's form is checked, and make test-containers does the first one.
    "run-with-compose.md": ("tests/unit/deploy/test_commands_on_pages.py", "it needs an engine"),
    "run-on-kubernetes.md": ("tests/unit/deploy/test_commands_on_pages.py", "it needs a cluster"),
}


def test_every_page_is_typed_somewhere() -> None:
    here = {Path(page.path).name for page in PAGES if page.path.startswith("how-to/")}
    pages = {path.name for path in (DOCS / "how-to").glob("*.md")}
    assert here | ELSEWHERE.keys() == pages
    assert not here & ELSEWHERE.keys()
    # The test is of the page: it names it, or what the page is about stands in it.
    for name, (path, _) in ELSEWHERE.items():
        assert (ROOT / path).is_file(), name
    for name in ("call-from-python", "encrypt-the-mesh", "release", "use-it-from-django",
                 "add-a-tool", "run-with-compose", "run-on-kubernetes"):  # fmt: skip
        text = (ROOT / ELSEWHERE[f"{name}.md"][0]).read_text(encoding="utf-8")
        assert f"{name}.md" in text, name


def commands_of(page: str) -> list[str]:
    """Return the commands of a page's blocks, each with the lines that it goes on in."""
    blocks = re.findall(r"^```sh\n(.*?)^```|^((?:    .*\n)+)", page, re.DOTALL | re.MULTILINE)
    commands: list[str] = []
    for fenced, indented in blocks:
        lines = (fenced or re.sub(r"^    ", "", indented, flags=re.MULTILINE)).splitlines()
        command = ""
        for line in lines:
            if not command and not line.startswith(_COMMANDS):
                continue
            command += line + "\n"
            if not line.endswith("\\") and command.count("'") % 2 == 0:
                commands.append(command)
                command = ""
    return commands


def files_of(page: str) -> dict[str, str]:
    """Return the files that a page says to save, by name."""
    return dict(
        re.findall(
            r"^Save this as `([\w.-]+)`:\n\n```\w+\n(.*?)^```", page, re.DOTALL | re.MULTILINE
        )
    )


@pytest.fixture(scope="module")
async def open_mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """One whose organisation's settings the pages may change."""
    async with running_mesh(tmp_path_factory.mktemp("pages")) as mesh:
        yield mesh


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
async def test_what_a_page_says_to_type_works(open_mesh: Mesh, tmp_path: Path, page: Page) -> None:
    text = (DOCS / page.path).read_text(encoding="utf-8")
    for name, content in files_of(text).items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    typed = [c for c in commands_of(text) if not any(word in c for word in page.left_out)]
    assert typed
    script = "".join(typed).replace("http://127.0.0.1:8080", "$URL")
    for pattern, replacement in page.standing_in:
        script, count = re.subn(pattern, replacement, script)
        assert count, f"{pattern} isn't in the page any more"
    # What asks for a secret reads a line.
    script = re.sub(
        r"^(crewmesh (?:secrets set \w+|users add \S+ .*--password|login .*?))(?=\s|$)(.*)$",
        r"\1 \2 <<<'correct horse battery staple'",
        script,
        flags=re.MULTILINE,
    )
    script = re.sub(r"(\s#[^\n']*)( <<<.*)$", r"\2", script, flags=re.MULTILINE)
    script = re.sub(r"^curl ", "curl --fail-with-body -sS ", script, flags=re.MULTILINE)
    done = await asyncio.create_subprocess_exec(
        "bash", "-euxo", "pipefail", "-c", script,
        cwd=tmp_path,
        env={
            **MEASURED,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "CREWMESH_URL": open_mesh.url,
            "URL": open_mesh.url,
            "CREWMESH_API_KEY": open_mesh.api_key,
            "KEY": open_mesh.api_key,
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await done.communicate()
    assert done.returncode == 0, output.decode()
