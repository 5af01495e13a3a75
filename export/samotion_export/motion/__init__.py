"""The motion transformer and the motion map, and their graphs."""

from samotion_export.motion.net import build_module, graphs

__all__ = ["build_module", "graphs"]
