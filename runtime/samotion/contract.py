"""The contract between export and runtime: engine names, their inputs and outputs.

The only place these names are written. Dimensions are integers, or letters: T frames, N points or
tracks (or px of a square's side), B batch (objects, in sam2), H and W pixels, GH and GW grid cells,
K remembered frames (or taps of a resampling) and P prompt points or object pointers vary from call
to call (`DYNAMIC`); all other letters are fixed by the preset.

Every output is finite, and the backends refuse NaN and infinity in any of them: what is not there
has a number too (-1024 is the mask logit of an object that left, 0 the disparity of the farthest).
"""

from __future__ import annotations

from dataclasses import dataclass

DYNAMIC = frozenset({"T", "N", "B", "H", "W", "GH", "GW", "K", "P"})
NETS = ("tracks", "depth", "dino", "motion", "sam2")
DEVICES = ("auto", "cpu", "cuda", "tensorrt")
ON_GPU = ("cuda", "tensorrt")  # of these; engines of any other answer on the host
TRACKER_PX = 256  # side of the frames that points are followed in
PATCH_PX = 14  # of the vision transformers of depth and dino
MAP_CHANNELS = 16  # of what samotion.cues.motion_residuals gives the motion map


@dataclass(frozen=True)
class Tensor:
    """One named array at an engine's border. `dims` holds ints and letters."""

    name: str
    dtype: str
    dims: tuple[int | str, ...]


@dataclass(frozen=True)
class Signature:
    """What an engine takes and gives, in order, and the net it belongs to.

    `only_if`: the flag of the net's numbers (presets.py) without which there is no such engine.
    `rows`: the letter whose rows do not influence each other, so that a long call may be cut along
    it. `gpu_only`: written in a GPU's spelling alone, and a run does as well without it.
    `per_frame`: every frame of a clip goes through it, in the same shapes after the first few,
    so that it is worth recording.
    """

    net: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    only_if: str | None = None
    rows: str | None = None
    per_frame: bool = False
    gpu_only: bool = False

    @property
    def input_names(self) -> tuple[str, ...]:
        """In the order of the graph."""
        return tuple(t.name for t in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """In the order of the graph."""
        return tuple(t.name for t in self.outputs)


_LOWRES = Tensor("lowres", "float32", ("T", TRACKER_PX // 8, TRACKER_PX // 8, "C"))
_HIRES = Tensor("hires", "float32", ("T", TRACKER_PX // 4, TRACKER_PX // 4, "C'"))
_QUERY_LOWRES = Tensor("query_lowres", "float32", ("N", "C"))
_QUERY_HIRES = Tensor("query_hires", "float32", ("N", "C'"))
_QUERIES = Tensor("queries", "float32", ("N", 3))  # t, y, x; px of 256
# The same of larger frames, S px.
_LARGE_LOWRES = Tensor("large_lowres", "float32", ("T", "S/8", "S/8", "C"))
_LARGE_HIRES = Tensor("large_hires", "float32", ("T", "S/4", "S/4", "C'"))
_QUERY_LARGE_LOWRES = Tensor("query_large_lowres", "float32", ("N", "C"))
_QUERY_LARGE_HIRES = Tensor("query_large_hires", "float32", ("N", "C'"))


def _per_frame(name: str, dtype: str = "float32") -> Tensor:
    return Tensor(name, dtype, ("N", "T"))


# tracks: x, y; px of 256. The other two are logits.
_TRACKS = (
    Tensor("tracks", "float32", ("N", "T", 2)),
    _per_frame("occlusion"),
    _per_frame("expected_dist"),
)


def _of_one_frame(tensor: Tensor) -> Tensor:
    return Tensor(tensor.name, tensor.dtype, tuple(1 if d == "T" else d for d in tensor.dims))


# What a causal tracker keeps of earlier frames: of every mixer block in every refinement (R), D
# wide, four rows.
_PAST = ("R", "N", 4, "D")


# SAM 2. S: side of the image in px, M = S/4, G = S/16, L = G*G tokens. Features are those of one
# frame: objects share them. Masks are logits, positive inside.
_LEVELS = (
    Tensor("level0", "float32", (1, "C0", "M", "M")),
    Tensor("level1", "float32", (1, "C1", "M/2", "M/2")),
    Tensor("level2", "float32", (1, "C", "G", "G")),
)
_QUERY = Tensor("query", "float32", (1, "L", "C"))  # the frame's tokens, ready to attend to memory
_MASKS = Tensor("masks", "float32", ("B", "M", "M"))
# logit: whether the object is in the frame
_OBJECT_SCORE = Tensor("object_score", "float32", ("B",))
_DECODED = (
    _MASKS,
    Tensor("iou", "float32", ("B",)),
    Tensor("pointer", "float32", ("B", "C")),
    _OBJECT_SCORE,
)
_MEMORY = Tensor("memory", "float32", ("B", "L", "D"))


def _batched(tensor: Tensor) -> Tensor:
    return Tensor(tensor.name, tensor.dtype, ("B", *tensor.dims[1:]))


SIGNATURES: dict[str, Signature] = {
    "tracks_features": Signature(
        "tracks",
        (Tensor("frames", "uint8", ("T", TRACKER_PX, TRACKER_PX, 3)),),
        (_LOWRES, _HIRES),
        rows="T",
    ),
    "tracks_query": Signature(
        "tracks", (_LOWRES, _HIRES, _QUERIES), (_QUERY_LOWRES, _QUERY_HIRES), rows="N"
    ),
    "tracks_refine": Signature(
        "tracks", (_LOWRES, _HIRES, _QUERY_LOWRES, _QUERY_HIRES, _QUERIES), _TRACKS, rows="N"
    ),
    "tracks_features_large": Signature(
        "tracks",
        (Tensor("frames", "uint8", ("T", "S", "S", 3)),),
        (_LARGE_LOWRES, _LARGE_HIRES),
        "refines_large",
        rows="T",
    ),
    "tracks_query_large": Signature(
        "tracks",
        (_LARGE_LOWRES, _LARGE_HIRES, _QUERIES),
        (_QUERY_LARGE_LOWRES, _QUERY_LARGE_HIRES),
        "refines_large",
        rows="N",
    ),
    "tracks_refine_large": Signature(
        "tracks",
        (
            *(_LOWRES, _QUERY_LOWRES),
            *(_LARGE_LOWRES, _LARGE_HIRES, _QUERY_LARGE_LOWRES, _QUERY_LARGE_HIRES),
            Tensor("start", "float32", ("N", "T", 2)),  # tracks of tracks_refine
        ),
        _TRACKS,
        "refines_large",
        rows="N",
    ),
    "tracks_online": Signature(
        "tracks",
        (
            *(_of_one_frame(t) for t in (_LOWRES, _HIRES)),
            *(_QUERY_LOWRES, _QUERY_HIRES),
            Tensor("past", "float32", _PAST),  # zeros for tracks that begin
        ),
        # present: the next frame's past
        (*(_of_one_frame(t) for t in _TRACKS), Tensor("present", "float32", _PAST)),
        "causal",
        rows="N",
    ),
    "depth": Signature(
        "depth",
        (Tensor("frames", "uint8", ("B", "H", "W", 3)),),
        (Tensor("disparity", "float32", ("B", "H", "W")),),
        rows="B",
    ),
    "dino": Signature(
        "dino",
        (Tensor("frames", "uint8", ("B", "H", "W", 3)),),
        (Tensor("features", "float32", ("B", "GH", "GW", "C")),),
        rows="B",
    ),
    "motion": Signature(
        "motion",
        (
            Tensor("xy", "float32", ("N", "T", 2)),  # [-1, 1]
            _per_frame("visible", "uint8"),
            _per_frame("visibility"),
            _per_frame("confidence"),
            _per_frame("disparity"),
            Tensor("dino", "float32", ("N", "C")),
        ),
        (Tensor("score", "float32", ("N",)),),
    ),
    "motion_map": Signature(
        "motion",
        (Tensor("residual", "float32", ("B", "GH", "GW", MAP_CHANNELS)),),
        (
            Tensor("logits", "float32", ("B", "GH", "GW")),  # positive where something moves
            Tensor("boundaries", "float32", ("B", "GH", "GW")),  # logits: where an object ends
        ),
        "maps",
        rows="B",
    ),
    # index and weight: the source pixels of each column and of each row, and their fixed-point
    # weights
    "sam2_resize": Signature(
        "sam2",
        (
            Tensor("frames", "uint8", ("B", "H", "W", 3)),
            Tensor("index", "int64", (2, "N", "K")),
            Tensor("weight", "int64", (2, "N", "K")),
        ),
        (Tensor("resized", "uint8", ("B", "N", "N", 3)),),
        rows="B",
        gpu_only=True,
    ),
    "sam2_image": Signature(
        "sam2",
        (Tensor("frames", "uint8", ("B", "S", "S", 3)),),
        tuple(_batched(t) for t in (*_LEVELS, _QUERY)),
        rows="B",
        per_frame=True,
    ),
    "sam2_prompt": Signature(
        "sam2",
        (
            *_LEVELS,
            Tensor("points", "float32", ("B", "P", 2)),  # x, y; px of S
            # 1 inside, 0 outside, 2 and 3 corners of a box, -1 padding
            Tensor("labels", "int64", ("B", "P")),
            Tensor("mask_prompt", "float32", ("B", "M", "M")),
            Tensor("has_mask", "uint8", ("B",)),  # 0: no mask prompt for this object
        ),
        _DECODED,
        rows="B",
    ),
    "sam2_memory": Signature("sam2", (_LEVELS[2], _MASKS, _OBJECT_SCORE), (_MEMORY,), rows="B"),
    "sam2_track": Signature(
        "sam2",
        (
            *_LEVELS,
            _QUERY,
            Tensor("bank", "float32", ("B", "K", "L", "D")),
            # frames back minus 1, or the last one for prompted frames
            Tensor("slot", "int64", ("B", "K")),
            Tensor("pointers", "float32", ("B", "P", "C")),
            Tensor("age", "float32", ("B", "P")),  # frames back / the most possible
        ),
        (*_DECODED, _MEMORY),
        rows="B",
        per_frame=True,
    ),
}


def engines_of(net: str, numbers: object = None, on_gpu: bool = False) -> tuple[str, ...]:
    """The engine names that one net is exported as, in contract order.

    `numbers`: the net's, as in presets.py; None: only those that every such net has. `on_gpu`: in
    a GPU's spelling.
    """
    return tuple(
        name
        for name, signature in SIGNATURES.items()
        if signature.net == net
        and (signature.only_if is None or getattr(numbers, signature.only_if, False))
        and (on_gpu or not signature.gpu_only)
    )
