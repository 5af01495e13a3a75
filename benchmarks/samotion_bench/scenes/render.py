"""From a scene to its clip: frames, depth, labels and point tracks with occlusion, all from the
same homographies.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from samotion import geometry
from samotion.geometry import inside

from samotion_bench.scenes.layers import Layer, shrink
from samotion_bench.scenes.scenes import Look, Scene

Rng = np.random.Generator
NEAREST = 0.3  # units before the camera: what is nearer is not drawn


@dataclass(frozen=True)
class Clip:
    """A rendered scene. Instance 0 is the backdrop; `moving` says which instances move by
    themselves.
    """

    frames: np.ndarray  # (T, H, W, 3) uint8 RGB
    disparity: np.ndarray  # (T, H, W) float32, 1 / depth
    layers: np.ndarray  # (T, H, W) uint8, index into the scene's layers
    labels: np.ndarray  # (T, H, W) uint8, instance
    moving: np.ndarray  # (instances,) bool

    @property
    def masks(self) -> np.ndarray:
        """(T, H, W) bool: what moves."""
        return np.asarray(self.moving[self.labels])

    @property
    def moving_labels(self) -> np.ndarray:
        """(T, H, W) uint8: the instance where it moves by itself, else 0."""
        return np.where(self.masks, self.labels, 0).astype(np.uint8)


@dataclass(frozen=True)
class TruthTracks:
    """Points of a scene's surfaces through the whole clip."""

    xy: np.ndarray  # (N, T, 2) float32 px, pixel centres at whole numbers
    visible: np.ndarray  # (N, T) bool
    instance: np.ndarray  # (N,) int
    moving: np.ndarray  # (N,) bool


def shown_hw(scene: Scene, short_side_px: int) -> tuple[int, int]:
    """Height and width in the scene's own aspect, with square pixels."""
    aspect = float(scene.camera.aspect)
    return round(short_side_px * max(1, 1 / aspect)), round(short_side_px * max(1, aspect))


def render(scene: Scene, hw: tuple[int, int]) -> Clip:
    """All frames of `scene` at size hw. Pixels may be oblong: the scene's own aspect is
    stretched to hw.
    """
    sheets = [_Sheet(layer, scene, hw) for layer in scene.layers]
    frames, disparity, ids = [], [], []
    rng = np.random.default_rng(scene.seed + 1)
    for frame, step in enumerate(scene.steps):
        shots = [_shoot(sheets, scene, s, hw) for s in _exposure(step, scene.substeps)]
        image = np.mean([shot[0] for shot in shots], axis=0) if len(shots) > 1 else shots[0][0]
        middle = shots[len(shots) // 2]
        frames.append(develop(image, scene.look, frame, rng))
        disparity.append(middle[1])
        ids.append(middle[2])
    layers = np.stack(ids)
    instances = np.array([layer.instance for layer in scene.layers], np.uint8)
    return Clip(np.stack(frames), np.stack(disparity), layers, instances[layers], scene.moving)


def _exposure(step: int, substeps: int) -> range:
    return range(step - substeps // 2, step + substeps // 2 + 1)


class _Sheet:
    """A layer ready to be drawn at one resolution: its homographies, their inverses and its
    texture, premultiplied.
    """

    def __init__(self, layer: Layer, scene: Scene, hw: tuple[int, int]) -> None:
        self.layer = layer
        self.forward = layer.homographies(scene.camera, hw)
        self.backward = np.linalg.inv(self.forward)
        alpha = layer.texture[..., 3:].astype(np.float32) / 255
        whole = np.dstack([(layer.texture[..., :3] * alpha), layer.texture[..., 3:]])
        # Of a plane that runs into the distance the middle of the picture says little: it keeps its
        # full texture.
        self.factor = 1 if layer.endless else _reduction(self.forward, layer.texture.shape[:2])
        self.texture = (
            shrink(whole.astype(np.uint8), self.factor)
            if self.factor > 1
            else whole.astype(np.uint8)
        )
        self.distance = (scene.camera.rotation @ (layer.centre - scene.camera.position)[..., None])[
            :, 2, 0
        ]

    def draw(
        self, step: int, time: float, hw: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]] | None:
        """RGBA premultiplied and disparity in a window of the picture, or None where it is not
        seen.
        """
        box = self._window(step, hw)
        if box is None:
            return None
        left, top, right, bottom = box
        window = (slice(top, bottom), slice(left, right))
        size = (right - left, bottom - top)
        x, y = (
            np.arange(left, right, dtype=np.float32),
            np.arange(top, bottom, dtype=np.float32)[:, None],
        )
        row = self.backward[step][2]
        disparity = np.asarray(row[0] * x + row[1] * y + row[2], np.float32)
        border = cv2.BORDER_REFLECT if self.layer.endless else cv2.BORDER_CONSTANT
        if self.layer.bend is None:
            to_window = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1.0]])
            matrix = to_window @ self.forward[step] @ _enlarge(self.factor)
            rgba = cv2.warpPerspective(
                self.texture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border
            )
        else:
            grid = np.stack([*np.broadcast_arrays(x, y)], -1)
            q = self.layer.bend.undo(transform(self.backward[step], grid), time)
            source = ((q + 0.5) / self.factor - 0.5).astype(np.float32)
            x_map, y_map = (
                np.ascontiguousarray(source[..., 0]),
                np.ascontiguousarray(source[..., 1]),
            )
            rgba = cv2.remap(self.texture, x_map, y_map, cv2.INTER_LINEAR, borderMode=border)
        rgba[(disparity <= 0) | (disparity > 1 / NEAREST)] = 0
        return rgba, disparity, window

    def _window(self, step: int, hw: tuple[int, int]) -> tuple[int, int, int, int] | None:
        height, width = hw
        if self.layer.endless:
            return 0, 0, width, height
        h, w = self.layer.texture.shape[:2]
        margin = 0.1 * max(h, w) if self.layer.bend else 1
        corners = np.array(
            [
                [-margin, -margin],
                [w + margin, -margin],
                [w + margin, h + margin],
                [-margin, h + margin],
            ]
        )
        points = np.concatenate([corners, np.ones((4, 1))], 1) @ self.forward[step].T
        if (points[:, 2] < NEAREST).all():
            return None
        if (points[:, 2] < NEAREST).any():
            return 0, 0, width, height
        xy = points[:, :2] / points[:, 2:]
        left, top = np.floor(xy.min(0)).clip(0, [width, height]).astype(int)
        right, bottom = (np.ceil(xy.max(0)) + 1).clip(0, [width, height]).astype(int)
        return (
            (int(left), int(top), int(right), int(bottom))
            if right > left and bottom > top
            else None
        )


def _enlarge(factor: int) -> np.ndarray:
    """From px of a texture reduced by `factor` to px of the whole, centres at whole numbers in
    both.
    """
    offset = factor / 2 - 0.5
    return np.array([[factor, 0, offset], [0, factor, offset], [0, 0, 1.0]])


def _reduction(forward: np.ndarray, texture_hw: tuple[int, ...]) -> int:
    """How many texture px fall on one image px in the middle of the clip, as a power of two."""
    h, w = texture_hw[:2]
    corners = np.array([[0, 0, 1], [w, 0, 1], [0, h, 1.0]]) @ forward[len(forward) // 2].T
    if (corners[:, 2] < NEAREST).any():
        return 1
    xy = corners[:, :2] / corners[:, 2:]
    seen = np.sqrt(abs(np.linalg.norm(xy[1] - xy[0]) * np.linalg.norm(xy[2] - xy[0])) + 1e-6)
    return int(2 ** np.clip(np.floor(np.log2(np.sqrt(h * w) / seen)), 0, 4))


def _shoot(
    sheets: list[_Sheet], scene: Scene, step: int, hw: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image (H, W, 3) float32 0..255, disparity and layer index at one time step, painted from
    far to near.
    """
    image = np.zeros((*hw, 3), np.float32)
    disparity, ids = np.full(hw, 1e-3, np.float32), np.zeros(hw, np.uint8)
    rank = [
        (not s.layer.endless, -s.distance[step] if not s.layer.endless else 0, i)
        for i, s in enumerate(sheets)
    ]
    # Parts of one object lie in one plane and keep the order they were built in.
    body = {s.layer.instance: r[1] for s, r in zip(sheets, rank)}
    order = sorted(
        range(len(sheets)), key=lambda i: (rank[i][0], body[sheets[i].layer.instance], i)
    )
    for i in order:
        drawn = sheets[i].draw(step, float(scene.time[step]), hw)
        if drawn is None:
            continue
        rgba, near, window = drawn
        if sheets[i].layer.shade:
            _cast_shadow(image, rgba[..., 3], window, sheets[i].layer.shade)
        alpha = rgba[..., 3:].astype(np.float32) / 255
        image[window] = image[window] * (1 - alpha) + rgba[..., :3]
        solid = rgba[..., 3] > 127
        disparity[window][solid] = near[solid]
        ids[window][solid] = i
    return image, disparity, ids


def _cast_shadow(
    image: np.ndarray, alpha: np.ndarray, window: tuple[slice, slice], strength: float
) -> None:
    """Darken what is already painted under a soft, flattened copy of the object's outline at its
    foot.
    """
    height, width = alpha.shape
    flat = cv2.resize(alpha, (width, max(1, height // 4)))
    flat = cv2.GaussianBlur(flat, (0, 0), max(1.0, width / 20))
    top, left = window[0].stop - flat.shape[0] * 2 // 3, window[1].start
    target = image[top : top + flat.shape[0], left : left + width]
    shade = 1 - strength * flat[: target.shape[0], : target.shape[1], None].astype(np.float32) / 255
    target *= shade


def develop(image: np.ndarray, look: Look, frame: int, rng: Rng) -> np.ndarray:
    """Light, softness, grain and compression: float32 0..255 to uint8 RGB."""
    height = image.shape[0]
    if look.soft_px:
        image = cv2.GaussianBlur(image, (0, 0), look.soft_px * height / 256)
    image = (
        255
        * np.power(np.clip(image / 255, 0, 1), np.float32(look.gamma))
        * look.gain[frame].astype(np.float32)
    )
    if look.grain:
        image = image + rng.standard_normal(image.shape, np.float32) * np.float32(look.grain)
    out: np.ndarray = np.clip(image, 0, 255).astype(np.uint8)
    if look.jpeg is None:
        return out
    coded = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, look.jpeg])[1]
    return np.ascontiguousarray(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))[..., ::-1])


def transform(matrix: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Points (..., 2) through a homography (3, 3)."""
    out = xy @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(out[..., :2] / out[..., 2:])


def track(scene: Scene, clip: Clip, tyx: np.ndarray) -> TruthTracks:
    """The surface points seen at `tyx` (N, 3) (frame, y, x px of the clip's frames), followed
    through all frames.
    """
    hw = clip.frames.shape[1:3]
    frames = tyx[:, 0].astype(int)
    x, y = geometry.nearest_pixel(tyx[:, :0:-1], hw).T
    owner = clip.layers[frames, y, x]
    xy = np.zeros((len(tyx), len(scene.steps), 2), np.float32)
    visible = np.zeros(xy.shape[:2], bool)
    for index in np.unique(owner):
        mine = np.flatnonzero(owner == index)
        layer = scene.layers[index]
        forward = layer.homographies(scene.camera, hw)[scene.steps]
        q = _to_texture(layer, forward, scene, frames[mine], tyx[mine][:, :0:-1])
        xy[mine], depth = _project(layer, forward, scene, q)
        visible[mine] = (depth > NEAREST) & _seen(xy[mine], clip.layers == index, hw)
    instance = np.array([layer.instance for layer in scene.layers])[owner]
    return TruthTracks(xy, visible, instance, scene.moving[instance])


def _to_texture(
    layer: Layer, forward: np.ndarray, scene: Scene, frames: np.ndarray, xy: np.ndarray
) -> np.ndarray:
    """Texture points (n, 2) of image points xy (n, 2), each in its own frame."""
    q = np.empty((len(xy), 2))
    for frame in np.unique(frames):
        here = frames == frame
        q[here] = transform(np.linalg.inv(forward[frame]), xy[here])
        if layer.bend:
            q[here] = layer.bend.undo(q[here], float(scene.time[scene.steps[frame]]))
    return q


def _project(
    layer: Layer, forward: np.ndarray, scene: Scene, q: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Image positions (n, T, 2) and depths (n, T) of texture points q (n, 2)."""
    moved = np.repeat(q[None], len(forward), 0)
    if layer.bend:
        moved = np.stack([q + layer.bend.shift(q, float(scene.time[s])) for s in scene.steps])
    points = np.einsum(
        "tij,tnj->nti", forward, np.concatenate([moved, np.ones((*moved.shape[:2], 1))], -1)
    )
    depth = points[..., 2]
    safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)[..., None]
    return np.clip(points[..., :2] / safe, -1e5, 1e5).astype(np.float32), depth


def _seen(xy: np.ndarray, mine: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """(n, T): inside the picture and on a pixel of the point's own layer, or right beside one
    (rounding).
    """
    near = np.stack(
        [cv2.dilate(m.astype(np.uint8), np.ones((3, 3), np.uint8)) for m in mine]
    ).astype(bool)
    x, y = np.moveaxis(geometry.nearest_pixel(xy, hw), -1, 0)
    return np.asarray(inside(xy, hw) & near[np.arange(len(mine))[None], y, x])


def surface_points(rng: Rng, clip: Clip, count: int, object_share: float = 0.5) -> np.ndarray:
    """(count, 3) random (frame, y, x): `object_share` of them on instances other than the
    backdrop where there are.
    """
    frames, height, width = clip.labels.shape
    everywhere = np.stack([rng.integers(0, n, count) for n in (frames, height, width)], -1)
    cells = np.flatnonzero(clip.labels)
    wanted = int(count * object_share) if len(cells) else 0
    picked = rng.choice(cells, wanted) if wanted else np.zeros(0, int)
    on_objects = np.stack(np.unravel_index(picked, clip.labels.shape), -1)
    return np.concatenate([on_objects, everywhere[: count - wanted]]).astype(np.float32)
