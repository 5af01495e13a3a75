"""Official files load; anything else is named for what it is, and nothing in it is run."""

from __future__ import annotations

import functools
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import official
from safetensors.torch import save_file
from samotion.errors import EngineError
from samotion.presets import DEPTH_SMALL, NANO, SAM21_TINY
from samotion_export.checkpoints import files as checkpoints
from samotion_export.checkpoints import weights

Shapes = dict[str, tuple[int, ...]]

DINO_LARGE: Shapes = {
    "cls_token": (1, 1, 1024),
    "patch_embed.proj.weight": (1024, 3, 14, 14),
    "blocks.0.ls1.gamma": (1024,),
}
DEPTH_LARGE: Shapes = {"pretrained.cls_token": (1, 1, 1024), "depth_head.projects.0.bias": (256,)}
TAPIR: Shapes = {"resnet_torch.initial_conv.weight": (64, 3, 7, 7)}
SAM1: Shapes = {"image_encoder.patch_embed.proj.weight": (1280, 3, 16, 16)}


def sam2_shapes(width: int, blocks: int, newer: bool = True) -> Shapes:
    shapes: Shapes = {
        f"image_encoder.trunk.blocks.{i}.norm1.weight": (width,) for i in range(blocks)
    }
    shapes["image_encoder.trunk.patch_embed.proj.weight"] = (width, 3, 7, 7)
    return {**shapes, "no_obj_embed_spatial": (1, 64)} if newer else shapes


def hollow(shapes: Shapes) -> dict[str, torch.Tensor]:
    """Tensors of any shape that take four bytes each, in memory and on disk."""
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def dino_state() -> dict[str, torch.Tensor]:
    return official.random_state("dino", NANO.dino)


@functools.cache
def module(name: str, net: object) -> torch.nn.Module:
    return weights.build_module(name, net)


def refusal(name: str, net: object, path: Path) -> str:
    with pytest.raises(EngineError) as caught:
        weights.load(name, net, path, module(name, net))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["tracks", "depth", "dino", "motion", "sam2"])
def test_official_format_gives_back_every_number(tmp_path: Path, name: str) -> None:
    net = getattr(NANO, name)
    state = official.random_state(name, net)
    loaded = weights.load(
        name, net, official.write(tmp_path / "a file.pt", name, state), module(name, net)
    )
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    module(name, net).load_state_dict(loaded, strict=True)


def test_half_precision_safetensors_come_back_as_float32(
    tmp_path: Path, dino_state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(
        {key: value.half() for key, value in dino_state.items()}, tmp_path / NANO.dino.weights.file
    )
    monkeypatch.setattr("samotion_export.checkpoints.download.BUNDLED", tmp_path)
    loaded = weights.load("dino", NANO.dino)
    assert {value.dtype for value in loaded.values()} == {torch.float32}
    assert all(torch.equal(loaded[key], value.half().float()) for key, value in dino_state.items())


def test_missing_bundled_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samotion_export.checkpoints.download.BUNDLED", tmp_path)
    with pytest.raises(EngineError, match=r"bundled weights tracks\.safetensors are missing"):
        weights.load("tracks", NANO.tracks)


@pytest.mark.parametrize(
    "shapes, label",
    [
        (DINO_LARGE, "DINOv2 Large"),
        ({**DINO_LARGE, "register_tokens": (1, 4, 1024)}, "DINOv2 Large with registers"),
        (
            {**DINO_LARGE, "patch_embed.proj.weight": (768, 3, 16, 16)},
            "other than DINOv2 (width 768, patches of 16 px)",
        ),
        (DEPTH_LARGE, "Depth Anything V2 Large"),
        (TAPIR, "TAPIR without extra convolutions"),
        ({**TAPIR, "extra_convs.blocks.0.conv.bias": (1024,)}, "BootsTAPIR"),
        ({"decoder.embedding.embedding.weight": (128, 16)}, "the motion net (moseg)"),
        (sam2_shapes(96, 12), "SAM 2.1 Hiera tiny"),
        (sam2_shapes(96, 16), "SAM 2.1 Hiera small"),
        (sam2_shapes(112, 24), "SAM 2.1 Hiera base+"),
        (sam2_shapes(144, 48), "SAM 2.1 Hiera large"),
        (sam2_shapes(144, 48, newer=False), "SAM 2.0 Hiera large"),
        (SAM1, "SAM 1"),
        ({"embeddings.cls_token": (1, 1, 768)}, "DINOv2 in the format of transformers"),
        ({"fc.weight": (10, 10)}, "no net known here (its first tensor is 'fc.weight')"),
    ],
)
def test_nets_are_recognised(shapes: Shapes, label: str) -> None:
    assert label in weights.recognise(shapes)


@pytest.mark.parametrize(
    "name, net, shapes, said",
    [
        (
            "depth",
            DEPTH_SMALL,
            DEPTH_LARGE,
            "this is Depth Anything V2 Large, expected Depth Anything V2 Small",
        ),
        (
            "depth",
            DEPTH_SMALL,
            DINO_LARGE,
            "this is DINOv2 Large, expected Depth Anything V2 Small",
        ),
        ("dino", NANO.dino, DINO_LARGE, "this is DINOv2 Large, expected DINOv2 of width 128"),
        ("dino", NANO.dino, SAM1, "this is SAM 1, expected DINOv2"),
        (
            "sam2",
            SAM21_TINY,
            sam2_shapes(96, 16),
            "this is SAM 2.1 Hiera small, expected SAM 2.1 Hiera tiny; to use it add --sam2 sam2.1_hiera_s",
        ),
        (
            "sam2",
            SAM21_TINY,
            sam2_shapes(144, 48, newer=False),
            "this is SAM 2.0 Hiera large, expected SAM 2.1 Hiera tiny",
        ),
    ],
)
def test_another_net_is_named(
    tmp_path: Path, name: str, net: object, shapes: Shapes, said: str
) -> None:
    assert said in refusal(name, net, official.write(tmp_path / "given.pth", name, hollow(shapes)))


def test_lacking_tensors_are_counted_and_the_first_named(
    tmp_path: Path, dino_state: dict[str, torch.Tensor]
) -> None:
    gone = [name for name in dino_state if name.startswith("blocks.1.norm")][:3]
    state = {name: value for name, value in dino_state.items() if name not in gone}
    said = refusal("dino", NANO.dino, official.write(tmp_path / "dino.pth", "dino", state))
    assert f"lacks 3 of its {len(dino_state)} tensors, the first of them {gone[0]!r}" in said


def test_another_shape_is_named(tmp_path: Path, dino_state: dict[str, torch.Tensor]) -> None:
    state = {**dino_state, "norm.bias": torch.zeros(64)}
    said = refusal("dino", NANO.dino, official.write(tmp_path / "dino.pth", "dino", state))
    assert "'norm.bias' has shape [64], expected [128]" in said


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (lambda tensor: (tensor * 100).round().to(torch.int8), "holds int8"),
        (lambda tensor: tensor.to(torch.complex64), "holds complex64"),
        (lambda tensor: tensor.to_sparse(), "holds sparse numbers"),
        (lambda tensor: tensor.to("meta"), "holds no numbers"),
        (lambda tensor: torch.nested.nested_tensor([tensor, tensor]), "lacks 1 of its"),
    ],
)
def test_numbers_that_are_no_weights_are_refused(
    tmp_path: Path,
    dino_state: dict[str, torch.Tensor],
    kind: Callable[[torch.Tensor], torch.Tensor],
    said: str,
) -> None:
    state = {**dino_state, "norm.bias": kind(dino_state["norm.bias"])}
    refused = refusal("dino", NANO.dino, official.write(tmp_path / "dino.pth", "dino", state))
    assert said in refused and "'norm.bias'" in refused


def test_a_counter_may_hold_any_numbers(tmp_path: Path) -> None:
    """As where a trainer writes all of a net in float32."""
    state = official.random_state("motion", NANO.motion)
    own = {name: value.float() for name, value in state.items()}
    path = official.write(tmp_path / "motion.pt", "motion", own)
    weights.load("motion", NANO.motion, path, module("motion", NANO.motion))


@pytest.mark.parametrize(
    "name",
    [
        "resnet_torch.initial_conv.weight",
        "image_encoder.trunk.stem.0.weight",
        "image_encoder.trunk.patch_embed.proj.weight",
    ],
)
def test_tensors_without_axes_are_of_no_net(name: str) -> None:
    assert "no net known here" in weights.recognise({name: ()})
    flat = {"cls_token": (), "patch_embed.proj.weight": (4, 4)}
    assert "no net known here" in weights.recognise(flat)


def test_harmless_extras_pass_and_others_do_not(
    tmp_path: Path, dino_state: dict[str, torch.Tensor]
) -> None:
    extra = {**dino_state, "bn.num_batches_tracked": torch.zeros((), dtype=torch.int64)}
    loaded = weights.load("dino", NANO.dino, official.write(tmp_path / "a.pth", "dino", extra))
    assert loaded.keys() == dino_state.keys()
    extra = {**dino_state, "blocks.99.norm1.weight": torch.zeros(128)}
    said = refusal("dino", NANO.dino, official.write(tmp_path / "b.pth", "dino", extra))
    assert "1 tensors that this net lacks, the first of them 'blocks.99.norm1.weight'" in said


class Bomb:
    """A pickle that makes a file when it is loaded carelessly."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_unrun(tmp_path: Path, zipped: bool) -> None:
    mark, path = tmp_path / "ran", tmp_path / "bomb.pt"
    torch.save({"model": Bomb(mark)}, path, _use_new_zipfile_serialization=zipped)
    said = refusal("dino", NANO.dino, path)
    assert "posix.mkdir" in said and "without running it" in said
    assert not mark.exists()


def test_a_bare_pickle_with_code_is_refused_unrun(tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "bomb.pkl"
    path.write_bytes(pickle.dumps(Bomb(mark)))
    assert "nothing in it was run" in refusal("dino", NANO.dino, path)
    assert not mark.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("keep", [20, 0.5, 0.999])
def test_truncated_files_are_called_so(
    tmp_path: Path, dino_state: dict[str, torch.Tensor], zipped: bool, keep: float
) -> None:
    path = tmp_path / "dino.pth"
    torch.save(dino_state, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    assert "truncated" in refusal("dino", NANO.dino, path)


def test_truncated_safetensors_are_called_so(
    tmp_path: Path, dino_state: dict[str, torch.Tensor]
) -> None:
    save_file(dino_state, tmp_path / "dino.safetensors")
    data = (tmp_path / "dino.safetensors").read_bytes()
    (tmp_path / "dino.safetensors").write_bytes(data[:-100])
    assert "truncated or damaged" in refusal("dino", NANO.dino, tmp_path / "dino.safetensors")


@pytest.mark.parametrize("error", [MemoryError(), OverflowError("odd"), struct.error()])
def test_whatever_a_reader_stumbles_over_is_damage(
    tmp_path: Path,
    dino_state: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise error

    path = tmp_path / "dino.pt"
    torch.save(dino_state, path)
    monkeypatch.setattr(torch, "load", stumble)
    assert "is truncated or damaged" in refusal("dino", NANO.dino, path)


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "is empty"),
        (b"  \n<!DOCTYPE html><html>404</html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer"),
        (b"just some words", "not a PyTorch or safetensors checkpoint"),
    ],
)
def test_files_that_are_no_checkpoint(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    assert said in refusal("dino", NANO.dino, path)


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    assert "does not exist" in refusal("dino", NANO.dino, tmp_path / "absent.pt")
    assert "is a folder or device" in refusal("dino", NANO.dino, tmp_path)
    assert "is a folder or device" in refusal("dino", NANO.dino, Path("/dev/null"))
    assert "cannot be read: File name too long" in refusal("dino", NANO.dino, Path("x" * 300))


def test_checkpoints_without_tensors(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    assert "holds a list, expected a state dict" in refusal("dino", NANO.dino, tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "epoch.pt")
    assert "holds no tensors (it holds epoch)" in refusal("dino", NANO.dino, tmp_path / "epoch.pt")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    assert "truncated or damaged" in refusal("dino", NANO.dino, tmp_path / "other.zip")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"epoch": 7, "model_state_dict": state, "optimizer": {"state": {}}},
        lambda state: {"state_dict": {"model": state}},
        lambda state: {"ema": state},
        lambda state: {"params": state},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
        lambda state: {f"_orig_mod.module.{name}": value for name, value in state.items()},
        lambda state: {
            "state_dict": {
                "loss.weight": torch.ones(1),
                **{f"model.{name}": value for name, value in state.items()},
            }
        },
    ],
)
def test_wrapped_state_dicts_are_unwrapped(
    tmp_path: Path,
    dino_state: dict[str, torch.Tensor],
    wrap: Callable[[dict[str, torch.Tensor]], dict[str, object]],
) -> None:
    torch.save(wrap(dino_state), tmp_path / "wrapped.pt")
    loaded = weights.load("dino", NANO.dino, tmp_path / "wrapped.pt", module("dino", NANO.dino))
    assert loaded.keys() == dino_state.keys()
    assert all(torch.equal(loaded[name], dino_state[name]) for name in dino_state)


def test_two_nets_in_one_file_are_not_guessed_at(
    tmp_path: Path, dino_state: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "two.pt"
    torch.save({"model": dino_state, "ema": dino_state}, path)
    assert "holds model and ema, and which is the net is not told" in refusal(
        "dino", NANO.dino, path
    )
    twice = {f"{word}.{k}": v for word in ("model", "ema_model") for k, v in dino_state.items()}
    torch.save(twice, path)
    assert "2 times, with names that begin with 'model.' and 'ema_model.'" in refusal(
        "dino", NANO.dino, path
    )


def test_prefixes_do_not_hide_what_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "depth.pt"
    torch.save({f"module.{k}": v for k, v in hollow(DEPTH_LARGE).items()}, path)
    assert "this is Depth Anything V2 Large" in refusal("dino", NANO.dino, path)


@pytest.mark.parametrize("name", ["tracks", "depth", "dino", "motion", "sam2"])
def test_no_net_has_names_that_look_like_a_prefix(name: str) -> None:
    names = module(name, getattr(NANO, name)).state_dict()
    assert {checkpoints._prefix_of(tensor) for tensor in names} == {""}


def test_arrays_are_a_checkpoint_too(tmp_path: Path, dino_state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "dino.npz"
    arrays: dict[str, Any] = {name: value.numpy() for name, value in dino_state.items()}
    np.savez(path, **arrays)
    loaded = weights.load("dino", NANO.dino, path, module("dino", NANO.dino))
    assert all(torch.equal(loaded[name], dino_state[name]) for name in dino_state)
    np.savez(path, a=np.array([{}]))
    assert "arrays that cannot be read" in refusal("dino", NANO.dino, path)


@pytest.mark.parametrize("zipped", [True, False])
def test_content_counts_and_not_the_name(
    tmp_path: Path, dino_state: dict[str, torch.Tensor], zipped: bool
) -> None:
    path = tmp_path / "dino.safetensors"
    torch.save(dino_state, path, _use_new_zipfile_serialization=zipped)
    assert checkpoints.read(path).keys() == dino_state.keys()
    save_file(dino_state, tmp_path / "dino.pt")
    assert checkpoints.read(tmp_path / "dino.pt").keys() == dino_state.keys()


def test_a_header_of_any_length_is_safetensors(tmp_path: Path) -> None:
    """A length of 128 bytes begins as a pickle does."""
    path = tmp_path / "a.pt"
    for width in range(40, 90):
        save_file({"w" * width: torch.ones(2)}, path)
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    assert torch.equal(checkpoints.read(path)["w" * width], torch.ones(2))


def test_programs_are_named(tmp_path: Path) -> None:
    path = tmp_path / "program.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("program/data.pkl", b"")
        archive.writestr("program/constants.pkl", b"")
    assert "is a TorchScript program" in refusal("dino", NANO.dino, path)
