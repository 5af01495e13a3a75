"""For mkdocs: links of a page that lead out of docs/ become addresses of the repository, and that
to the repository asks it nothing.
"""

from __future__ import annotations

import re
from typing import Any

OUTSIDE = re.compile(r"\]\(\.\./([\w./-]+)")


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """Called by mkdocs for every page."""
    return OUTSIDE.sub(rf"]({config.repo_url.rstrip('/')}/blob/main/\1", markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Called for every page as HTML: where the theme's script finds this mark at the link to the
    repository, it asks GitHub for the number of stars.
    """
    return output.replace(' data-md-component="source"', "")


on_post_template = on_post_page  # of 404.html
