"""Prints pip constraints that pin each base dependency to the lowest version pyproject.toml allows.

python .ci/lowest.py > lowest.txt; pip install -c lowest.txt '.[cpu]'
"""

from __future__ import annotations

import re
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
BLOCK = re.compile(r"^(?:dependencies|cpu) = \[\n(.*?)^\]", re.M | re.S)
REQUIREMENT = re.compile(r'"([\w.-]+)>=([\w.]+),<[\w.]+(;[^"]*)?",')


def lowest(pyproject: str) -> list[str]:
    """Constraints for the base dependencies and those of `cpu`, markers kept."""
    lines = [line for block in BLOCK.findall(pyproject) for line in block.splitlines()]
    found = [REQUIREMENT.search(line) for line in lines]
    if not lines or not all(found):
        raise SystemExit('expected lines like "name>=1.2,<3; marker" in pyproject.toml')
    return [f"{m[1]}=={m[2]}{m[3] or ''}" for m in found if m]


if __name__ == "__main__":
    print("\n".join(lowest(PYPROJECT.read_text())))
