"""What the site is built of: the pages in docs, those that are generated, and its settings."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docs.generate import cli, errors, grpc_api, rest, settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MERMAID = ROOT / "console/node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js"
GENERATED = {
    "reference/rest.md": rest.page,
    "reference/grpc.md": grpc_api.page,
    "reference/grpc-store.md": grpc_api.store_page,
    "reference/errors.md": errors.page,
    "reference/cli.md": cli.page,
    "reference/settings.md": settings.page,
}
# The order in which the sections are read; a page that is in none of them stands in "More".
_SECTIONS: list[tuple[str, list[str]]] = [
    ("Start", ["index.md", "tutorial.md", "comparison.md"]),
    ("How to", ["how-to/*.md"]),
    ("Crews", ["crews/*.md"]),
    ("Reference", ["reference/*.md"]),
    ("How it works", ["architecture.md", "security.md", "decisions/README.md", "decisions/0*.md"]),
    ("Operate", ["operations/README.md", "operations/*.md", "operations/runbooks/README.md",
                 "operations/runbooks/*.md"]),
    ("Measured", ["report.md", "benchmarks/README.md", "benchmarks/*.md", "chaos.md", "soak.md"]),
]  # fmt: skip
_NO_PAGES = ("generate",)


def assemble(target: Path) -> None:
    """Write all that the site is built of into `target`, and its settings beside it."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(DOCS, target, ignore=shutil.ignore_patterns(*_NO_PAGES, "*.py", "__pycache__"))
    for name, page in GENERATED.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(), encoding="utf-8")
    for path in target.rglob("*.md"):
        text = _without_outside_links(path.read_text(encoding="utf-8"), path, target)
        path.write_text(text, encoding="utf-8")
    scripts = target / "javascripts"
    scripts.mkdir()
    shutil.copy(MERMAID, scripts / "mermaid.js")
    (target.parent / "zensical.toml").write_text(_settings(target), encoding="utf-8")


def _without_outside_links(text: str, path: Path, target: Path) -> str:
    """Name the repository's files that pages link to; they aren't on the site."""

    def shown(link: re.Match[str]) -> str:
        where = link[2].partition("#")[0]
        if "://" in where or not where or (path.parent / where).resolve().is_relative_to(target):
            return link[0]
        place = (DOCS / path.relative_to(target)).parent / where
        return f"{link[1]} (`{place.resolve().relative_to(ROOT)}`)"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", shown, text)


def _settings(target: Path) -> str:
    nav, seen = [], set()
    for title, patterns in _SECTIONS:
        pages = []
        for pattern in patterns:
            found = sorted(target.glob(pattern))
            if not found:
                raise ValueError(f"{pattern}: there is no such page")
            for path in found:
                if path not in seen:
                    seen.add(path)
                    pages.append({_title(path): path.relative_to(target).as_posix()})
        nav.append({title: pages})
    left = sorted(set(target.rglob("*.md")) - seen)
    if left:
        nav.append({"More": [{_title(p): p.relative_to(target).as_posix()} for p in left]})
    return _TEMPLATE.format(docs_dir=target.name, nav=_toml(nav))


def _title(path: Path) -> str:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            title = line[2:].strip()
            number = (
                path.name[:4] if path.parent.name == "decisions" and path.name[0] == "0" else ""
            )
            return f"{number} {title}".strip()
    raise ValueError(f"{path} has no title")


def _toml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


_TEMPLATE = """\
[project]
site_name = "Crewmesh"
site_description = "Run CrewAI crews as a service you own"
docs_dir = "{docs_dir}"
site_dir = "site"
use_directory_urls = false
extra_javascript = ["javascripts/mermaid.js"]
extra_css = ["stylesheets/extra.css"]
nav = {nav}

[project.theme]
language = "en"
font = false
features = [
  "content.code.copy", "navigation.footer", "navigation.indexes", "navigation.sections", "navigation.tabs",
  "navigation.top", "search.highlight", "toc.follow",
]

[[project.theme.palette]]
media = "(prefers-color-scheme: light)"
scheme = "default"
toggle.icon = "lucide/sun"
toggle.name = "Dark"

[[project.theme.palette]]
media = "(prefers-color-scheme: dark)"
scheme = "slate"
toggle.icon = "lucide/moon"
toggle.name = "Light"

[project.markdown_extensions]
admonition = {{}}
attr_list = {{}}
tables = {{}}
toc.permalink = true

[project.markdown_extensions.pymdownx.highlight]
anchor_linenums = false

[project.markdown_extensions.pymdownx.superfences]
custom_fences = [
  {{ name = "mermaid", class = "mermaid", format = "pymdownx.superfences.fence_code_format" }},
]
"""


class _Page(HTMLParser):
    """The ids of a page, and what it links to and loads."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif "src" in given:
            self.loads.append(given["src"])
        elif tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(given.get("href", ""))


def faults(site: Path) -> list[str]:
    """Return what is wrong with a built site: links to nowhere, and what asks another host."""
    pages = {}
    for path in site.rglob("*.html"):
        pages[path.resolve()] = page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        found += [f"{name} loads {url}" for url in page.loads if urlsplit(url).netloc]
        if path.name == "404.html":
            continue
        for link in (*page.links, *page.loads):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("/"):
                continue
            where = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if where.is_dir():
                where = where / "index.html"
            if not where.exists():
                found.append(f"{name} links to {link}, which isn't there")
            elif where in pages and unquote(parts.fragment) not in {"", *pages[where].ids}:
                found.append(f"{name} links to {link}, a heading that isn't there")
    return sorted(set(found))
