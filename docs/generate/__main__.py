"""`python -m docs.generate`: assembles the site's pages, checks a built site, renews a page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from docs.generate import settings, site


def main() -> int:
    """Do what is asked for; return 1 for a site with faults."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate")
    parser.add_argument("target", nargs="?", type=Path, help="where the site's pages are written")
    parser.add_argument(
        "--check", type=Path, metavar="SITE", help="look for faults of a built site"
    )
    parser.add_argument("--reference", action="store_true", help="renew docs/reference/settings.md")
    given = parser.parse_args()
    if given.reference:
        path = site.DOCS / "reference" / "settings.md"
        path.write_text(settings.page(), encoding="utf-8")
    if given.target:
        site.assemble(given.target.resolve())
    if given.check:
        found = site.faults(given.check)
        sys.stderr.writelines(f"{fault}\n" for fault in found)
        count = len(list(given.check.rglob("*.html")))
        sys.stdout.write(f"{count} pages, {len(found)} faults\n")
        return 1 if found else 0
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
