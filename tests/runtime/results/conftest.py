"""A browser for the tests of reports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.browser import Page, browser


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A tab, opened anew by each test."""
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab
