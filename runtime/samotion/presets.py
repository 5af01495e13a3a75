"""Presets: numbers and file names. Every preset goes through the same builders, graphs and
runtime.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from samotion.contract import TRACKER_PX


@dataclass(frozen=True)
class Weights:
    """Where a net's checkpoint comes from. All that is not bundled has a `sha256`, and on the
    hub a revision.
    """

    file: str
    licence: str
    repo: str | None = None  # Hugging Face repository; None: not on the hub
    revision: str | None = None
    url: str | None = None  # used when `repo` is None
    sha256: str | None = None
    size_bytes: int | None = None  # None: not known
    bundled: bool = False  # True: `file` lies inside samotion/nano
    non_commercial: bool = False
    hash_is_advice: ClassVar[bool] = False  # another hash always refuses; for programs that ask


@dataclass(frozen=True)
class VitNet:
    """A DINOv2 vision transformer: heads are 64 wide, patches 14 px, positions trained on a square
    of `pos_grid` cells a side.
    """

    width: int
    depth: int
    pos_grid: int = 37


MIN_CONFIDENCE = 0.5  # of an object, that it moves by itself, for presets with cues
REFINE_PX = (TRACKER_PX, 512)  # what BootsTAPIR's refinement was trained for
MIN_WINDOW = 8  # frames; fewer show too little motion
MAX_LABELS = 255  # objects: labels are uint8 and 0 is static


@dataclass(frozen=True)
class TracksNet:
    """TAPIR at 256 px. `channels` are the four residual groups: hires follows the second, lowres
    the fourth. `guess_convs`: whether convolutions read the similarity maps that the initial guess
    is made from, as published; else it is where they are highest.

    `causal`: trained to see no later frames, so that it can follow a live source. `refine_px`: size
    of the frames on which tracks are refined a second time; 256: not at all.
    """

    weights: Weights
    stem: int = 64
    channels: tuple[int, int, int, int] = (64, 128, 256, 256)
    blocks_per_group: int = 2
    extra_convs: int = 5
    guess_convs: bool = True
    mixer_width: int = 512
    mixer_blocks: int = 12
    iterations: int = 4
    causal: bool = False
    refine_px: int = TRACKER_PX

    @property
    def refines_large(self) -> bool:
        """Whether tracks are refined on frames larger than 256 px."""
        return self.refine_px > TRACKER_PX


@dataclass(frozen=True)
class DepthNet:
    """Depth Anything V2: a ViT with four tapped blocks and a DPT head."""

    weights: Weights
    vit: VitNet
    taps: tuple[int, int, int, int]
    features: int
    out_channels: tuple[int, int, int, int]
    short_side_px: int = 518


@dataclass(frozen=True)
class DinoNet:
    """Last-block keys of a DINOv2 ViT. `short_side_px` None: the frame's own size, rounded up to
    multiples of 14.
    """

    weights: Weights
    vit: VitNet
    stride_px: int = 7
    short_side_px: int | None = None


@dataclass(frozen=True)
class MotionNet:
    """The motion transformer. `disparity` names how depth reaches it: the reference's two
    quirks, or plainly.
    """

    weights: Weights
    dino_channels: int = 768
    camera_scales: tuple[
        float, ...
    ] = ()  # of the fits that take the camera's motion from the tracks' steps; see camera.py
    maps: bool = False  # whether a net sees motion cell by cell as well, see motion_map.py
    # "reference": saturated and gathered as published; "plain": as one would expect
    disparity: str = "reference"


@dataclass(frozen=True)
class Sam2Net:
    """SAM 2. `config` names a configuration of the sam2 package, or `nano` for our own small
    one.
    """

    weights: Weights
    config: str
    image_size_px: int = 1024
    # None: attend to all prompted frames, as the reference does
    max_conditioning_frames: int | None = None


@dataclass(frozen=True)
class Prompting:
    """How moving tracks become SAM 2 prompts (docs/method.md, stages 8 to 10)."""

    every_frames: int = 16
    thresholds: tuple[float, ...] = (0.95, 0.93, 0.90, 0.85, 0.80, 0.75, 0.70)
    long_clip_thresholds: tuple[float, ...] = (0.99, 0.98, 0.97, 0.96, 0.95)
    min_moving_tracks: int = 10  # a threshold that leaves fewer is too high
    min_object_tracks: int = 6  # moving ones; fewer are no object, unless the clip has no more
    min_confidence: float = 0.9  # of the tracker, for a point to count as seen
    # best tracks taken when no threshold leaves enough; 0: then nothing moves
    fallback_tracks: int = 3


@dataclass(frozen=True)
class Cues:
    """The second method, of samotion/cues: motion cues, grouping and drawn mask prompts.

    Tracks with scores above `grow_threshold` may join an object that surer ones found. An object is
    followed no farther than `reach_frames` from its prompts. The motion net sees `tracks_at_once`,
    or fewer: about as many as it was trained on, and attention's cost grows with their square.
    """

    grow_threshold: float
    reach_frames: int
    tracks_at_once: int


@dataclass(frozen=True)
class Preset:
    """One choice of five nets and of how they are run. Lengths in px of the named net's input."""

    name: str
    licence: str
    tracks: TracksNet
    depth: DepthNet
    dino: DinoNet
    motion: MotionNet
    sam2: Sam2Net
    prompting: Prompting = field(default_factory=Prompting)
    max_tracks: int = 5000
    max_frames: int = 300
    long_side_px: int = 1000
    query_step_frames: int = 10
    cues: Cues | None = None  # None: the published method

    @property
    def min_confidence(self) -> float:
        """Objects that move less probably are left out; the published method leaves none out."""
        return MIN_CONFIDENCE if self.cues else 0.0


def _hub(
    repo: str, file: str, licence: str, sha256: str, revision: str, size_bytes: int | None = None
) -> Weights:
    return Weights(
        file, licence, repo, revision, None, sha256, size_bytes, non_commercial="NC" in licence
    )


def _bundled(file: str) -> Weights:
    return Weights(file, "Apache-2.0", bundled=True)


BOOTSTAPIR = TracksNet(
    _hub(
        "google/tapnet",
        "bootstapir_checkpoint_v2.pt",
        "Apache-2.0",
        "8493c7a69e02c85b9382fbb3c7b8b539b36bc08ede744b9e99feb739a0129f4b",
        "5d3fb48e76c5422841e38501514121e251beabb7",
    )
)
CAUSAL_BOOTSTAPIR = TracksNet(
    Weights(
        "causal_bootstapir_checkpoint.pt",
        "Apache-2.0",
        url="https://storage.googleapis.com/dm-tapnet/bootstap/causal_bootstapir_checkpoint.pt",
        sha256="87c1e752cf5ce56e3e2f7da460aeb4d40fc826d04ef2939bade86a5c7495377f",
        size_bytes=218_887_028,
    ),
    causal=True,
)
DEPTH_SMALL = DepthNet(
    _hub(
        "depth-anything/Depth-Anything-V2-Small",
        "depth_anything_v2_vits.pth",
        "Apache-2.0",
        "715fade13be8f229f8a70cc02066f656f2423a59effd0579197bbf57860e1378",
        "03876f8651c73a60fe4c2c48294e09fcb6838fcf",
        99_218_434,
    ),
    VitNet(384, 12),
    taps=(2, 5, 8, 11),
    features=64,
    out_channels=(48, 96, 192, 384),
)
DEPTH_LARGE = DepthNet(
    _hub(
        "depth-anything/Depth-Anything-V2-Large",
        "depth_anything_v2_vitl.pth",
        "CC-BY-NC-4.0",
        "a7ea19fa0ed99244e67b624c72b8580b7e9553043245905be58796a608eb9345",
        "cbbb86a30ce19b5684b7a05155dc7e6cbc7685b9",
        1_341_395_338,
    ),
    VitNet(1024, 24),
    taps=(4, 11, 17, 23),
    features=256,
    out_channels=(256, 512, 1024, 1024),
)
DINO_BASE = DinoNet(
    Weights(
        "dinov2_vitb14_pretrain.pth",
        "Apache-2.0",
        url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
        sha256="0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
    ),
    VitNet(768, 12),
)
MOSEG = MotionNet(
    _hub(
        "Changearthmore/moseg",
        "moseg.pth",
        "MIT by one account, see the publisher's page",
        "705445fbf6b2e42cd4e946390c5c6891046e70add8e8377e38f5368f503591d9",
        "5ce31c82a80df8ec00ed1e7b1baee72d2b3eecc5",
    )
)


def _sam2(
    size: str, sha256: str, revision: str, version: str = "2.1", size_bytes: int | None = None
) -> Sam2Net:
    prefix = "sam2.1" if version == "2.1" else "sam2"
    repo = f"facebook/{prefix}-hiera-{size.replace('_', '-')}"
    config = (
        f"{prefix}_hiera_{ {'tiny': 't', 'small': 's', 'base_plus': 'b+', 'large': 'l'}[size] }"
    )
    file = f"{prefix}_hiera_{size}.pt"
    return Sam2Net(_hub(repo, file, "Apache-2.0", sha256, revision, size_bytes), config)


SAM21_TINY = _sam2(
    "tiny",
    "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    "de431c4043854a71d8101e17995dfe596bf101a5",
)
SAM21_SMALL = _sam2(
    "small",
    "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    "ee5bba1d82bb8749febdf90f45e84b687142ba03",
    size_bytes=184_416_285,
)
SAM21_BASE_PLUS = _sam2(
    "base_plus",
    "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    "b7320756a13354e7530a63935656d35b2f91a290",
)
SAM21_LARGE = _sam2(
    "large",
    "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
    "665f8e2ad61cf5f53d65644ff27c8ee525124610",
)
SAM20_LARGE = _sam2(
    "large",
    "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
    "e6a8e8809b8f1bfa2238b6d080f3d05cc76bd251",
    version="2.0",
)
# needed to export SAM 2, not to run it
SAM2_INSTALL = "pip install --no-deps --no-build-isolation sam2==1.1.0"
SAM2_SIZES: dict[str, Sam2Net] = {
    net.config: net for net in (SAM21_TINY, SAM21_SMALL, SAM21_BASE_PLUS, SAM21_LARGE, SAM20_LARGE)
}

NANO_CUES = Cues(grow_threshold=0.3, reach_frames=1, tracks_at_once=384)
NANO = Preset(
    "nano",
    "Apache-2.0",
    TracksNet(
        _bundled("tracks.safetensors"),
        stem=16,
        channels=(16, 32, 64, 64),
        blocks_per_group=1,
        extra_convs=0,
        guess_convs=False,
        mixer_width=96,
        mixer_blocks=3,
        iterations=2,
    ),
    DepthNet(
        _bundled("depth.safetensors"),
        VitNet(128, 4, pos_grid=16),
        taps=(0, 1, 2, 3),
        features=24,
        out_channels=(16, 32, 64, 64),
        short_side_px=140,
    ),
    DinoNet(_bundled("dino.safetensors"), VitNet(128, 4, pos_grid=16), short_side_px=140),
    MotionNet(
        _bundled("motion.safetensors"),
        dino_channels=128,
        camera_scales=(1.0, 0.1, 0.04, 0.02, 0.02),
        maps=True,
        disparity="plain",
    ),
    Sam2Net(_bundled("sam2.safetensors"), "nano", image_size_px=448, max_conditioning_frames=2),
    Prompting(
        every_frames=1,
        thresholds=(0.8,),
        long_clip_thresholds=(0.8,),
        min_moving_tracks=6,
        min_object_tracks=2,
        min_confidence=0.5,
        fallback_tracks=0,
    ),
    max_tracks=1728,  # 1536, and 192 reserved for densify
    cues=NANO_CUES,
)
FAST = Preset(
    "fast", "Apache-2.0 and moseg's", BOOTSTAPIR, DEPTH_SMALL, DINO_BASE, MOSEG, SAM21_TINY
)
BALANCED = replace(FAST, name="balanced", sam2=SAM21_BASE_PLUS)
REFERENCE = replace(
    FAST,
    name="reference",
    licence="includes CC-BY-NC-4.0 (depth)",
    depth=DEPTH_LARGE,
    sam2=SAM20_LARGE,
)
LIVE = replace(FAST, name="live", tracks=CAUSAL_BOOTSTAPIR)
PRESETS: dict[str, Preset] = {p.name: p for p in (NANO, FAST, BALANCED, REFERENCE, LIVE)}
