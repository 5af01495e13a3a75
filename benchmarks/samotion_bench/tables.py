"""Tables of the commands, of which nothing is cut off: not in a file, nor on a narrow terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 130  # characters of a line that goes into a file
ROOMY = 100  # a terminal with fewer has no blanks beside the lines of a table


def make_table(
    title: str, columns: Sequence[str], console: Console, left: Collection[str] = ()
) -> Table:
    """An empty table for `console`; the first column and those in `left` begin at the left. What
    is too wide for a column goes on in the next line.
    """
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    table = Table(title=title, padding=(0, 1 if console.width >= ROOMY else 0))
    for column in columns:
        at_left = column == columns[0] or column in left
        table.add_column(column, justify="left" if at_left else "right", overflow="fold")
    return table
