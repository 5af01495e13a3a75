"""From one window of a clip to the next: objects keep their ids, tracks and masks go on.

Neighbouring windows share frames. Tracks of known objects are followed on from there; a group of
tracks that holds enough of them is the known object. One that is found no more, because it stands
still, is followed all the same. Its last mask is a prompt for SAM 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from samotion.presets import Prompting
from samotion.prompts import ObjectPrompt
from samotion.results.result import Carried, Found
from samotion.sam2.clicks import Click
from samotion.sam2.logits import MASK_LOGIT
from samotion.tracks.records import MIN_CERTAINTY, Tracks

TRACKS_SHARE = 4  # one in so many of a window's tracks goes on from the window before, at most
SAME_TRACKS = 0.3  # of the tracks that go on, or of the group that they lie in
SAME_IOU = 0.5  # of masks on the shared frames
OTHER_IOU = 0.1  # tracks that went on lie on something else


@dataclass(frozen=True, kw_only=True)
class Seam(Carried):
    """What a window hands on, of the frames that it shares with the next one.

    `labels` (S,H,W) uint8: masks there, by id; `ids`: of the objects among them, and their
    `confidences` when they were last found; `queries` (Q,3) float32 t, y, x px, t from the first
    shared frame, and `owners` (Q,), ids: points of these objects to follow on. `prompting`: the
    preset's numbers.
    """

    labels: np.ndarray
    ids: tuple[int, ...]
    confidences: tuple[float, ...]
    owners: np.ndarray
    prompting: Prompting

    def regroup(self, tracks: Tracks, objects: list[ObjectPrompt]) -> list[ObjectPrompt]:
        """Known objects first, the k-th of `ids` under the number k + 1, then new ones."""
        owner = self._owners(tracks)
        groups = self._known_groups(owner, objects)
        enough = self.prompting.min_object_tracks
        fresh = [
            one
            for i, one in enumerate(objects)
            if i not in groups.values() and (owner[one.members] < 0).sum() >= enough
        ]
        for one in fresh:  # which is none of the known objects that its tracks were of
            owner[one.members] = -1
        known = []
        for k in range(len(self.ids)):
            stands = k not in groups
            own = np.flatnonzero(owner == k)
            members = own if stands else np.union1d(own, objects[groups[k]].members)
            members = members[(owner[members] == k) | (owner[members] < 0)]
            if len(members) >= enough:
                confidence = self.confidences[k] if stands else objects[groups[k]].confidence
                known.append(_prompt(k + 1, tracks, members, confidence, stands))
        first = len(self.ids) + 1
        return known + [replace(one, object_id=n) for n, one in enumerate(fresh, first)]

    def _owners(self, tracks: Tracks) -> np.ndarray:
        """For each track (N,) which of `ids` it goes on from, by number; -1: none."""
        place = {one: k for k, one in enumerate(self.ids)}
        by_query = {
            tuple(query): place[owner]
            for query, owner in zip(self.queries.tolist(), self.owners.tolist())
        }
        tyx = np.column_stack([tracks.query_frame, tracks.query_xy[:, ::-1]]).tolist()
        return np.array([by_query.get(tuple(query), -1) for query in tyx], np.int64)

    def _known_groups(self, owner: np.ndarray, objects: list[ObjectPrompt]) -> dict[int, int]:
        """Which of the `objects` each of `ids` is, by number: that with most of its tracks."""
        followed = np.bincount(owner[owner >= 0], minlength=len(self.ids))
        votes = [
            (int((owner[one.members] == k).sum()), i, k)
            for i, one in enumerate(objects)
            for k in range(len(self.ids))
        ]
        groups: dict[int, int] = {}
        for count, i, k in sorted(votes, key=lambda vote: (-vote[0], vote[1:])):
            size = len(objects[i].members)
            same = count > SAME_TRACKS * min(size, int(followed[k]))
            if same and k not in groups and i not in groups.values():
                groups[k] = i
        return groups

    def prompt(self, objects: list[ObjectPrompt]) -> list[ObjectPrompt]:
        """Known objects with their mask on the frame in the middle of the shared ones as one more
        prompt.
        """
        frame = (len(self.labels) - 1) // 2
        return [
            replace(one, clicks=_with_mask(one, frame, self.labels[frame] == self.ids[number]))
            if (number := one.object_id - 1) < len(self.ids)
            else one
            for one in objects
        ]

    def match(self, found: Found) -> list[int | None]:
        """For each of the objects found, which of `ids` it is; None: a new one; 0: none, but ground
        onto which the tracks of one that left went astray.

        Masks on the shared frames decide where tracks do not, and where tracks went astray.
        """
        count = len(self.labels)
        iou = _ious(self.labels, self.ids, found.labels[:count], len(found.objects))
        matched: list[int | None] = [None] * len(found.objects)
        for row, one in enumerate(found.objects):
            k = one.object_id - 1
            if k < len(self.ids) and not iou[row, k] < OTHER_IOU:
                matched[row] = self.ids[k]
            elif one.stands:
                matched[row] = 0
        for row, k in zip(*np.unravel_index(np.argsort(-iou, axis=None), iou.shape)):
            free = matched[row] is None and self.ids[k] not in matched
            if free and iou[row, k] > SAME_IOU:
                matched[row] = self.ids[k]
        return matched


def hand_on(
    found: Found,
    labels: np.ndarray,
    ids: list[int],
    first: int,
    max_tracks: int,
    prompting: Prompting,
) -> Seam:
    """What goes on from a window whose frames from `first` on are shared with the next.

    `labels` (T,H,W) uint8 by id; `ids`: of each of the objects found, 0: of none.
    """
    shared = labels[first:].copy()
    there = [one for one in dict.fromkeys(ids) if one and (shared == one).any()]
    most = max_tracks // TRACKS_SHARE // max(1, len(there))
    queries, owners = [np.zeros((0, 3), np.float32)], [np.zeros(0, np.int64)]
    confidences: dict[int, float] = {}
    for one, object_id in zip(found.objects, ids):
        confidences.setdefault(object_id, one.confidence)
        if object_id in there:
            own = _queries(found.tracks.take(one.members), first)[:most]
            queries.append(own)
            owners.append(np.full(len(own), object_id))
    return Seam(
        labels=shared,
        ids=tuple(there),
        confidences=tuple(confidences[one] for one in there),
        queries=np.concatenate(queries),
        owners=np.concatenate(owners),
        prompting=prompting,
    )


def _queries(tracks: Tracks, first: int) -> np.ndarray:
    """Queries (Q,3), t from frame `first`, of the tracks that are visible from there on, the
    surest first.
    """
    certainty = (tracks.visibility * tracks.confidence)[:, first:]
    best = certainty.argmax(axis=1)
    rows = np.arange(len(tracks))
    surest_first = np.argsort(-certainty[rows, best], kind="stable")
    is_visible = certainty[surest_first, best[surest_first]] > MIN_CERTAINTY
    rows = surest_first[is_visible]
    xy = tracks.xy[rows, first + best[rows]]
    return np.column_stack([best[rows], xy[:, ::-1]]).astype(np.float32)


def _prompt(
    number: int, tracks: Tracks, members: np.ndarray, confidence: float, stands: bool
) -> ObjectPrompt:
    """An object of these tracks, by the frame in which most of them are visible."""
    fullest = int(tracks.visible[members].sum(axis=0).argmax())
    return ObjectPrompt(number, fullest, members, confidence=confidence, stands=stands)


def _with_mask(one: ObjectPrompt, frame: int, mask: np.ndarray) -> tuple[Click, ...]:
    """An object's clicks with a mask (H,W) bool as the prompt on a frame."""
    if not mask.any():
        return one.clicks
    logits = np.where(mask, MASK_LOGIT, -MASK_LOGIT).astype(np.float32)
    here = [click for click in one.clicks if click.frame == frame]
    no_points = Click(one.object_id, frame, np.zeros((0, 2), np.float32), np.zeros(0, np.int32))
    seeded = replace(here[0] if here else no_points, mask=logits)
    others = [click for click in one.clicks if click.frame != frame]
    return tuple(sorted([*others, seeded], key=lambda click: click.frame))


def _ious(known: np.ndarray, ids: tuple[int, ...], found: np.ndarray, count: int) -> np.ndarray:
    """IoU (count,K) over all frames of the masks 1 to `count` with those of `ids`; NaN where both
    are empty.
    """
    joint = np.zeros((256, 256), np.int64)
    for a, b in zip(found, known):
        pairs = a.astype(np.int64).ravel() * 256 + b.ravel()
        joint += np.bincount(pairs, minlength=256 * 256).reshape(256, 256)
    both = joint[1 : count + 1][:, list(ids)]
    areas = joint.sum(axis=1)[1 : count + 1, None] + joint.sum(axis=0)[None, list(ids)]
    with np.errstate(invalid="ignore"):
        return np.asarray(both / (areas - both))
