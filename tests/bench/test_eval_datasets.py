"""Label maps from files, and the folders of DAVIS, FBMS-59 and SegTrackV2 in miniature."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image
from samotion.errors import InputError
from samotion.png import encode_indexed
from samotion_bench.datasets import find_clips, read_found, read_names, read_truth
from samotion_bench.labels import read_labels, stack_labels

HW = (18, 27)


def labels(seed=0, most=3):
    return np.random.default_rng(seed).integers(0, most + 1, HW).astype(np.uint8)


def write_png(path, array, mode="P", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if mode == "P":
        image = Image.frombytes("P", array.shape[::-1], array.tobytes())
        image.putpalette([(i * 37) % 256 for i in range(768)])
    image.save(path, "png", **options)
    return path


@pytest.mark.parametrize(("mode", "bits"), [("P", 1), ("P", 2), ("P", 4), ("P", 8), ("L", 8)])
def test_indices_come_back_whatever_the_palette(tmp_path, mode, bits):
    expected = labels(bits, most=2**bits - 1)
    path = write_png(tmp_path / "x.png", expected, mode, bits=bits)
    np.testing.assert_array_equal(read_labels(path), expected)


def test_filtered_rows_and_our_own_files_come_back(tmp_path):
    expected = labels(5, most=200)
    header_grey = cv2.imencode(
        ".png", expected, [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_PAETH]
    )[1].tobytes()
    (tmp_path / "grey.png").write_bytes(header_grey)
    (tmp_path / "own.png").write_bytes(encode_indexed(expected))
    np.testing.assert_array_equal(read_labels(tmp_path / "grey.png"), expected)
    np.testing.assert_array_equal(read_labels(tmp_path / "own.png"), expected)


def test_transparent_palettes_and_equal_channels_are_labels(tmp_path):
    expected = labels(6)
    path = write_png(tmp_path / "p.png", expected, transparency=bytes([0, 128, 255]))
    np.testing.assert_array_equal(read_labels(path), expected)
    cv2.imwrite(str(tmp_path / "rgb.png"), np.dstack([expected] * 3))
    np.testing.assert_array_equal(read_labels(tmp_path / "rgb.png"), expected)


def test_damaged_files_are_named(tmp_path):
    whole = encode_indexed(labels())
    for name, data in {"cut.png": whole[:-30], "text.png": b"hello", "none.png": b""}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=name):
            read_labels(tmp_path / name)
    flipped = bytearray(whole)
    flipped[-30] ^= 1
    (tmp_path / "flipped.png").write_bytes(flipped)
    with pytest.raises(InputError, match=r"flipped\.png"):
        read_labels(tmp_path / "flipped.png")


def test_255_is_an_object_only_where_nothing_else_is(tmp_path):
    binary, davis17 = np.array([[0, 255]]), np.array([[0, 255, 2]])
    np.testing.assert_array_equal(stack_labels([binary], tmp_path), [[[0, 1]]])
    np.testing.assert_array_equal(stack_labels([davis17], tmp_path), [[[0, 255, 2]]])


def test_labels_of_16_bits_mean_the_same_in_every_frame(tmp_path):
    maps = [np.array([[0, 7, 7]]), np.array([[0, 7, 300]])]
    np.testing.assert_array_equal(stack_labels(maps, tmp_path), [[[0, 1, 1]], [[0, 1, 2]]])


def davis(root, name="bear", frames=4, first=0):
    truth = [labels(i) for i in range(frames)]
    for i, frame in enumerate(truth, start=first):
        write_png(root / "Annotations/480p" / name / f"{i:05d}.png", frame)
        write_png(root / "JPEGImages/480p" / name / f"{i:05d}.png", np.dstack([frame] * 3), "RGB")
    return truth


def test_davis_roots_and_lists(tmp_path):
    truth = davis(tmp_path, "bear")
    davis(tmp_path, "swan")
    assert [clip.name for clip in find_clips(tmp_path, None)] == ["bear", "swan"]
    (clip,) = find_clips(tmp_path / "Annotations/480p", tmp_path, ["bear"])
    assert clip.frames == ("00000", "00001", "00002", "00003") and len(clip.images) == 4
    np.testing.assert_array_equal(read_truth(clip).labels, truth)
    with pytest.raises(InputError, match="no annotations of cow"):
        find_clips(tmp_path, None, ["cow"])
    (tmp_path / "list.txt").write_text("bear\n# all of it\n\n swan # moves\nbear\n")
    assert read_names(tmp_path / "list.txt") == ["bear", "swan"]
    (tmp_path / "list.txt").write_text("bear\nswan\n", encoding="utf-8-sig")
    assert read_names(tmp_path / "list.txt") == ["bear", "swan"]


def test_void_is_not_static_nor_object(tmp_path):
    frame = labels(1)
    frame[:4] = 255
    write_png(tmp_path / "a/00000.png", frame)
    truth = read_truth(find_clips(tmp_path, None)[0])
    assert truth.void[0, :4].all() and not truth.void[0, 4:].any() and not truth.labels[0, :4].any()
    assert truth.objects == [1, 2, 3]
    assert truth.as_movers.labels[0, :4].all() and not truth.as_movers.void.any()


@pytest.mark.parametrize("inner", ["bear", "bear/masks"])
def test_results_by_frame_name_or_number(tmp_path, inner):
    davis(tmp_path / "data", first=1)  # frames are called 00001 to 00004
    (clip,) = find_clips(tmp_path / "data", None)
    found = [labels(10 + i) for i in range(4)]
    for i, frame in enumerate(found):
        write_png(tmp_path / "named" / inner / f"{i + 1:05d}.png", frame)
        write_png(tmp_path / "numbered" / inner / f"{i:05d}.png", frame)
    np.testing.assert_array_equal(read_found(clip, tmp_path / "named", HW), found)
    np.testing.assert_array_equal(read_found(clip, tmp_path / "numbered", HW), found)
    (tmp_path / "named" / inner / "00003.png").unlink()
    with pytest.raises(
        InputError, match=r"lacks the masks of 1 of 4 annotated frames \(00003.png\)"
    ):
        read_found(clip, tmp_path / "named", HW)
    with pytest.raises(InputError, match="no masks of bear"):
        read_found(clip, tmp_path / "elsewhere", HW)


def test_masks_of_frames_that_are_annotated_now_and_then_are_found_by_name(tmp_path):
    found = [labels(10 + i) for i in range(12)]
    for i, frame in enumerate(found):
        write_png(tmp_path / "found/bear" / f"{i:05d}.png", frame)
    for i in (5, 10):
        write_png(tmp_path / "truth/bear" / f"{i:05d}.png", labels(i))
    (clip,) = find_clips(tmp_path / "truth", None)
    np.testing.assert_array_equal(read_found(clip, tmp_path / "found", HW), [found[5], found[10]])
    (tmp_path / "found/bear/00010.png").unlink()
    with pytest.raises(InputError, match=r"11 masks from 00000\.png on.*add --images"):
        read_found(clip, tmp_path / "found", HW)


def test_masks_by_number_stay_so_where_few_frames_are_annotated(tmp_path):
    found = [labels(10 + i) for i in range(8)]
    for i, frame in enumerate(found):
        write_png(tmp_path / "numbered/bear" / f"{i:05d}.png", frame)
        write_png(tmp_path / "named/bear" / f"{i + 1:05d}.png", frame)
        write_png(tmp_path / "images/bear" / f"{i + 1:05d}.png", np.dstack([frame] * 3), "RGB")
    write_png(tmp_path / "named/bear/00000.png", labels())  # of a frame that is not among them
    write_png(tmp_path / "truth/bear/00005.png", labels(5))
    (clip,) = find_clips(tmp_path / "truth", tmp_path / "images")
    for kind in ("numbered", "named"):
        np.testing.assert_array_equal(read_found(clip, tmp_path / kind, HW), [found[4]])


def test_masks_of_another_size_are_scaled_where_the_shape_agrees(tmp_path):
    davis(tmp_path / "data", frames=2)
    (clip,) = find_clips(tmp_path / "data", None)
    for i in range(2):
        write_png(
            tmp_path / "double/bear" / f"{i:05d}.png", np.kron(labels(i), np.ones((2, 2), np.uint8))
        )
        write_png(
            tmp_path / "tall/bear" / f"{i:05d}.png", np.kron(labels(i), np.ones((2, 1), np.uint8))
        )
    np.testing.assert_array_equal(
        read_found(clip, tmp_path / "double", HW), read_truth(clip).labels
    )
    with pytest.raises(InputError, match="27x36, the ground truth is 27x18"):
        read_found(clip, tmp_path / "tall", HW)


def test_fbms_annotates_a_few_frames_in_colours_or_greys(tmp_path):
    for name, suffix in (("camel01", ".ppm"), ("marple2", ".pgm")):
        folder = tmp_path / name / "GroundTruth"
        folder.mkdir(parents=True)
        for number in range(1, 13):
            cv2.imwrite(
                str(tmp_path / name / f"{name}_{number:04d}.jpg"), np.zeros((*HW, 3), np.uint8)
            )
        for number in (1, 10):
            image = np.full((*HW, 3), 255, np.uint8) if suffix == ".ppm" else np.zeros(HW, np.uint8)
            image[:5] = (255, 0, 0) if suffix == ".ppm" else 120
            if number == 10:
                image[10:] = (0, 128, 0) if suffix == ".ppm" else 60
            cv2.imwrite(str(folder / f"{name}_{number:04d}_gt{suffix}"), image)
        cv2.imwrite(str(folder / f"{name}_0001_PROB_gt.ppm"), np.zeros((*HW, 3), np.uint8))
    for clip in find_clips(tmp_path, None):
        assert [a.frame for a in clip.annotations] == [0, 9] and len(clip.images) == 12
        truth = read_truth(clip)
        assert truth.objects == [1] and truth.labels.max() == 2 and not truth.void.any()
        assert len(set(truth.labels[:, 0, 0])) == 1, "an object keeps its label from frame to frame"
        assert not truth.labels[:, 7].any() and truth.labels[1, 12].all()


def test_segtrack_holds_a_folder_per_object(tmp_path):
    for i in range(3):
        write_png(
            tmp_path / "JPEGImages/bmx" / f"bmx_{i + 5:05d}.png",
            np.zeros((*HW, 3), np.uint8),
            "RGB",
        )
        for label in (1, 2):
            mask = np.zeros((*HW, 3), np.uint8)
            mask[:, 9 * (label - 1) : 9 * label] = 255
            write_png(
                tmp_path / "GroundTruth/bmx" / str(label) / f"bmx_{i + 5:05d}.png", mask, "RGB"
            )
    (clip,) = find_clips(tmp_path, tmp_path)
    truth = read_truth(clip)
    assert truth.labels.shape == (3, *HW)
    np.testing.assert_array_equal(truth.labels[0, 0], np.repeat([1, 2, 0], 9))
    (tmp_path / "GroundTruth/bmx/2/bmx_00006.png").unlink()
    with pytest.raises(InputError, match="different frames"):
        find_clips(tmp_path, None)


def colour_masks(ground, last):
    """Two objects in colours, one of them pure blue and one grey, on a ground; `last` is the
    last frame.
    """
    frames = [np.full((*HW, 3), ground, np.uint8) for _ in range(3)]
    for t, frame in enumerate(frames):
        frame[4:8, t : t + 6] = (128, 0, 0)  # blue comes first
        frame[10:14, 12 : 18 + t] = 128
    frames[1][4:8] = ground  # here the grey object alone
    return [*frames, np.full((*HW, 3), last, np.uint8)]


@pytest.mark.parametrize(("ground", "last"), [(0, 0), (255, 255), (255, 0), (252, 255)])
def test_colours_on_black_or_on_white_are_the_same_masks(tmp_path, ground, last):
    for t, frame in enumerate(colour_masks(ground, last)):
        cv2.imwrite(str(tmp_path / f"{t}.png"), frame)
    got = stack_labels([read_labels(tmp_path / f"{t}.png") for t in range(4)], tmp_path)
    for t, frame in enumerate(colour_masks(0, 0)):
        blue, grey = (frame == (128, 0, 0)).all(axis=2), (frame == 128).all(axis=2)
        assert len(np.unique(got[t][blue])) == len(np.unique(got[t][grey])) or t in (1, 3)
        np.testing.assert_array_equal(got[t] > 0, blue | grey)
    assert (
        got.max() == 2
        and got[0, 5, 2] == got[2, 5, 4]
        and got[0, 12, 14] == got[1, 12, 14] == got[2, 12, 14]
    )


def test_objects_are_those_of_the_first_annotated_frame(tmp_path):
    for t, values in enumerate([(1, 3), (1, 5)]):
        frame = np.zeros(HW, np.uint8)
        frame[:4], frame[6:9] = values
        write_png(tmp_path / f"a/{t:05d}.png", frame)
    assert read_truth(find_clips(tmp_path, None)[0]).objects == [1, 2, 3]
