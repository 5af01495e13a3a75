"""The table of users' wishes: long enough, answered, and about things that exist."""

from __future__ import annotations

import re

from helpers.paths import ROOT
from samotion.results.writers import WRITERS

PAGE = (ROOT / "docs" / "wishes.md").read_text()
ROWS = re.findall(r"^\| (\d+)\. (.+?) \| (\w+) \| (.+) \|$", PAGE, re.M)


def test_forty_wishes_at_least_half_met_and_most_of_them_whole() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, len(ROWS) + 1))
    answers = [met for _, _, met, _ in ROWS]
    assert len(ROWS) >= 40 and set(answers) == {"yes", "half"}
    assert answers.count("yes") >= 32


def test_every_wish_has_its_answer() -> None:
    assert [wish for _, wish, _, answer in ROWS if len(answer) < 20] == []


def test_every_writer_is_in_the_docs() -> None:
    page = (ROOT / "docs" / "formats.md").read_text()
    told = set(re.findall(r"^\| `(\w+)` \|", page, re.M))
    assert told == set(WRITERS), "docs/formats.md has a row for each"
