"""The page of faults has all 64 rows, and each names tests that are there."""

from __future__ import annotations

import re

from helpers.paths import ROOT

PAGE = ROOT / "docs" / "faults.md"


def test_every_fault_has_an_answer_and_a_test() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \| (.+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, 65))
    for number, _, _, held_by in rows:
        files = re.findall(r"`([a-z_/]+\.py)`", held_by)
        assert files, number
        assert all((ROOT / "tests" / file).is_file() for file in files), number
