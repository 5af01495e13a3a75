"""Results go out: masks, overlay, objects, tracks and run.json."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samotion.results import result as result
    from samotion.results import write as write
else:

    def __getattr__(name: str) -> Any:
        """Import what the pages name of this room when it is first asked for."""
        if name in ("result", "write"):
            return import_module(f"samotion.results.{name}")
        raise AttributeError(f"module 'samotion.results' has no attribute {name!r}")
