"""Clips come in: video files, folders of frames and arrays."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samotion.clips import source as source
    from samotion.clips import stream as stream
    from samotion.clips import video as video
else:

    def __getattr__(name: str) -> Any:
        """Import what the pages name of this room when it is first asked for."""
        if name in ("source", "stream", "video"):
            return import_module(f"samotion.clips.{name}")
        raise AttributeError(f"module 'samotion.clips' has no attribute {name!r}")
