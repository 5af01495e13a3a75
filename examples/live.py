"""What moves before a camera, frame by frame.

python examples/live.py 0
python examples/live.py rtsp://camera/stream
python examples/live.py clip.mp4

Where frames come faster than they can be done, the newest wins and the others are dropped, so that
the delay does not grow; objects are looked for in the background. A file waits: all of its frames
are done.
"""

from __future__ import annotations

import sys

import samotion
from samotion.clips.live import open_source
from samotion.live import Session


def main(source: str) -> None:
    """Print where everything is that moves, by its middle in px of the masks."""
    with (
        samotion.open_engines() as engines,
        open_source(source) as opened,
        Session(engines, background=not opened.waits) as session,
    ):
        for frame, time_s in iter(opened.take, None):
            result = session.push(frame, time_s)
            for one in result.objects:
                rows, columns = (result.labels == one.label).nonzero()
                where = f"{columns.mean():.0f},{rows.mean():.0f}"
                print(f"{time_s:.2f} s: object {one.id} at {where}", flush=True)
        print(f"{opened.dropped} frames dropped", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
