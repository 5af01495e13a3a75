"""What moves before a camera: a window of frames is read while the last one is segmented.

python examples/live.py /dev/video0
python examples/live.py rtsp://camera/stream
python examples/live.py clip.mp4

Masks come a window later than their frames. Where a window takes longer than it lasts, frames that
come meanwhile are dropped, so that the delay does not grow.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import samotion

WINDOW_FRAMES = 16
LONG_SIDE_PX = 480


def windows(source: str) -> Iterator[Any]:
    """Frames (T,H,W,3) uint8 RGB, a window at a time, without those that come too fast."""
    fresh: queue.Queue[Any] = queue.Queue(maxsize=1)

    def read() -> None:
        frames: list[Any] = []
        with av.open(source) as container:
            for frame in container.decode(video=0):
                frames.append(frame.to_ndarray(format="rgb24"))
                if len(frames) == WINDOW_FRAMES:
                    if not fresh.full() or source_is_a_file:
                        fresh.put(np.stack(frames))
                    frames = []
        fresh.put(None)

    source_is_a_file = source.endswith((".mp4", ".mov", ".mkv", ".webm"))
    threading.Thread(target=read, daemon=True).start()
    while (window := fresh.get()) is not None:
        yield window


def main(source: str) -> None:
    """Print where everything is that moves, a window at a time."""
    settings = samotion.Settings(long_side_px=LONG_SIDE_PX)
    with samotion.open_engines() as engines:
        for frames in windows(source):
            result = samotion.segment_clip(frames, engines, settings)
            for one in result.objects:
                left, top, right, bottom = one.boxes[-1]  # NaN where it has left the picture
                box = f"{left:.0f},{top:.0f} to {right:.0f},{bottom:.0f}"
                print(f"object {one.id} at {box}, confidence {one.confidence:.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
