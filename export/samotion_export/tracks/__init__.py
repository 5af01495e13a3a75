"""The tracker: TAPIR and its graphs."""

from samotion_export.tracks.build import build_module, graphs

__all__ = ["build_module", "graphs"]
