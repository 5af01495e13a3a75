"""report.html: one page that shows a clip with what was found in it, and needs nothing else."""

from samotion.results.report.page import files, write

__all__ = ["files", "write"]
