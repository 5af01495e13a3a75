"""Count what crosses the middle of the picture, with supervision; writes a film that shows it.

pip install 'samotion[cpu,supervision]'
python examples/count_with_supervision.py clip.mp4 counted.mp4
"""

from __future__ import annotations

import sys

import samotion
import supervision as sv


def main(clip: str, film: str) -> None:
    """Count what crosses the middle, and draw it."""
    with samotion.open_engines() as engines:
        result = samotion.segment_clip(clip, engines)
    count, height, width = result.labels.shape
    line = sv.LineZone(sv.Point(width // 2, 0), sv.Point(width // 2, height))
    masks, names, lines = sv.MaskAnnotator(), sv.LabelAnnotator(), sv.LineZoneAnnotator()
    info = sv.VideoInfo(width=width, height=height, fps=round(result.clip.fps), total_frames=count)
    with sv.VideoSink(film, info) as sink:
        for frame in range(count):
            found = result.to_supervision(frame)
            line.trigger(found)
            picture = result.clip.frames[frame][..., ::-1].copy()  # supervision draws in BGR
            picture = masks.annotate(picture, found)
            ids = [] if found.tracker_id is None else found.tracker_id
            picture = names.annotate(picture, found, [f"object {n}" for n in ids])
            sink.write_frame(lines.annotate(picture, line))
    print(f"{line.in_count} to the left, {line.out_count} to the right")


if __name__ == "__main__":
    main(*sys.argv[1:])
