"""nano's prompts: points, and a coarse mask drawn from the tracks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from helpers.standing_tracks import FRAMES, HW, grid, tracks_at
from samotion.cues import mask_prompts, prompting
from samotion.presets import NANO
from samotion.prompts import ObjectPrompt, visible_members

SIDE = 96
PROMPTING = replace(NANO.prompting, every_frames=16)


def test_prompts_hold_points_and_a_mask_drawn_from_the_tracks():
    tracks = tracks_at(np.concatenate([grid(20, 20, 24), grid(80, 20, 60, 8)]))
    unprompted = ObjectPrompt(1, 5, np.arange(36))
    unsure = np.zeros(len(tracks), bool)
    noise = np.random.default_rng(0).integers(0, 255, (FRAMES, *HW, 3)).astype(np.uint8)
    visible = visible_members(unprompted, tracks, PROMPTING)
    maps: Any = np.zeros((FRAMES, HW[0] // 2, HW[1] // 2), np.float32)
    masks = mask_prompts.draw(
        tracks,
        [unprompted.members],
        [visible],
        unsure,
        noise,
        maps,
        SIDE,
    )[0]
    click = prompting.prompt(unprompted, tracks, visible, masks).clicks[0]
    assert click.mask is not None and click.mask.shape == (SIDE, SIDE)
    large = cv2.resize(click.mask, HW[::-1])
    assert large[32, 32] > 0 > large[50, 110]
    assert list(click.labels) == [1, 1, 1]


def test_a_lone_point_is_given_once():
    tracks = tracks_at(np.array([[30, 30]], np.float32))
    masks = {0: np.zeros((SIDE, SIDE), np.float32)}
    lone = prompting.prompt(ObjectPrompt(1, 0, np.arange(1)), tracks, {0: np.arange(1)}, masks)
    assert lone.clicks[0].points_xy.tolist() == [[30, 30]]
