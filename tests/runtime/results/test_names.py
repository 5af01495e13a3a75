"""Names of masks and folders: those of the frames and clips, never two alike, never one that
leads elsewhere.
"""

from __future__ import annotations

import os

import pytest
from samotion.results.names import MAX_NAME_BYTES, free_name, is_plain, mask_names


def test_masks_of_a_video_carry_frame_numbers() -> None:
    assert mask_names([0, 3, 123456]) == ["00000.png", "00003.png", "123456.png"]


@pytest.mark.parametrize(
    ("frames", "masks"),
    [
        (["00000.jpg", "00005.jpg"], ["00000.png", "00005.png"]),
        (["00001.jpg"], ["00001.png"]),
        (["0.25.png", "0.5.png"], ["0.25.png", "0.5.png"]),
        (["a.jpg", "a.png", "b.png"], ["a.jpg.png", "a.png.png", "b.png"]),
        (["A.jpg", "a.jpg"], ["A.jpg.png", "a.jpg-2.png"]),
        (["a.jpg", "a.png", "a.jpg.bmp"], ["a.jpg.png", "a.png.png", "a.jpg-2.png"]),
        (["../../x.jpg", "/y.png"], ["x.png", "y.png"]),
        (["caf\udce9.jpg", "two\nlines.jpg"], ["caf\udce9.png", "two\nlines.png"]),
    ],
)
def test_masks_of_a_folder_carry_the_frames_names(frames: list[str], masks: list[str]) -> None:
    assert mask_names(range(len(frames)), frames) == masks


def test_long_names_stay_distinct_and_fit() -> None:
    frames = ["é" * 125 + suffix for suffix in (".jpg", ".png", ".bmp")]
    masks = mask_names(range(3), frames)
    assert len(set(masks)) == 3 and all(len(os.fsencode(mask)) <= MAX_NAME_BYTES for mask in masks)


def test_free_names_differ_in_more_than_case_and_accents() -> None:
    taken: set[str] = set()
    names = [
        free_name(wish, taken)
        for wish in ("Clip", "clip", "CLIP", "caf\u00e9", "cafe\u0301", "clip-2")
    ]
    assert names == ["Clip", "clip-2", "CLIP-3", "caf\u00e9", "cafe\u0301-2", "clip-2-2"]
    assert len({free_name("x" * 255, taken) for _ in range(3)}) == 3


def test_plain_names() -> None:
    assert all(
        is_plain(name)
        for name in ("walk", "...", ".mp4", "-", "CON", "a. ", "two\nlines", "caf\udce9")
    )
    assert not any(is_plain(name) for name in ("", ".", "..", "a/b", "/", "../a", "a\0b"))
