"""For mkdocs: links of a page that lead out of docs/ become addresses of the repository."""

from __future__ import annotations

import re
from typing import Any

OUTSIDE = re.compile(r"\]\(\.\./([\w./-]+)")


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """Called by mkdocs for every page."""
    return OUTSIDE.sub(rf"]({config.repo_url.rstrip('/')}/blob/main/\1", markdown)
