"""SAM 2: its module and its graphs."""

from samotion_export.sam2.build import build_module, graphs

__all__ = ["build_module", "graphs"]
