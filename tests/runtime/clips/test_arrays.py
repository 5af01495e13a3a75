"""What callers pass for a clip: it works, or one sentence says what came and what is expected."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import media
from samotion.clips import video
from samotion.errors import InputError

FRAMES = media.quadrants(3)


class Tensor:
    """As a tensor of another library: no array, but NumPy can take it for one."""

    def __init__(self, values: np.ndarray, on_cpu: bool = True) -> None:
        self.values, self.on_cpu = values, on_cpu

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if not self.on_cpu:
            raise TypeError("copy the tensor to host memory first")
        return self.values


@pytest.mark.parametrize("source", [FRAMES, list(FRAMES), tuple(FRAMES), Tensor(FRAMES)])
def test_frames(source: Any) -> None:
    np.testing.assert_array_equal(video.read_clip(source).frames, FRAMES)


def test_path_of_bytes(tmp_path: Path) -> None:
    path = media.write_images(tmp_path / "f", FRAMES)
    assert len(video.read_clip(os.fsencode(path)).frames) == 3


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (0, "the clip is int 0; expected a video file"),
        (None, "the clip is None;"),
        ({"frames": 1}, "the clip is dict;"),
        ([], "the clip is an empty list;"),
        (["a.png", "b.png"], "the clip is a list of str;"),
        ([FRAMES[0], FRAMES[0][:9]], "of no use"),
        (Tensor(FRAMES, on_cpu=False), "copy the tensor to host memory first"),
        (FRAMES.astype(np.float32), r"frames are float32\[3, 48, 64, 3\]; expected uint8"),
        (Tensor(FRAMES.transpose(0, 3, 1, 2)), r"uint8\[3, 3, 48, 64\] \(from .*Tensor\)"),
    ],
)
def test_all_else_gets_one_sentence(source: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        video.read_clip(source)
    assert "\n" not in str(caught.value)


def test_frames_that_are_left_out_are_counted() -> None:
    clip = video.read_clip(np.repeat(FRAMES, 100, axis=0), max_frames=100)
    assert clip.warnings == ("of 300 frames every 3rd is used; --max-frames 300 uses all of them",)
    assert video.read_clip(FRAMES, max_frames=3).warnings == ()
