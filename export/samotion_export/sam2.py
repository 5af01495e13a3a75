"""SAM 2: its module and its graphs."""

from __future__ import annotations

from samotion_export.sam2_net import build_module

__all__ = ["build_module"]
