"""The per-frame step of SAM 2 on a GPU, whose memories stay there: all objects in one batch, the
same shapes in every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from samotion.backends import resident
from samotion.backends.resident import Answer
from samotion.sam2.features import Levels
from samotion.sam2.logits import fill_holes
from samotion.sam2.memory import Bank, MemoryEntry, attend, places, remember
from samotion.sam2.ring import Ring
from samotion.sam2.schedule import Clip, Do, Keep, Step

STEPS_A_WAIT = 4  # the host need not see the masks of one before it queues the next


def sweep(
    clip: Clip, banks: dict[int, Bank], steps: Sequence[Step], keep: Keep, do: Do
) -> Iterator[int]:
    """Track objects through all steps; now and then, how many are done. Steps are queued, and their
    masks written beside that, a few steps with one wait.
    """
    if not steps:
        return
    ring = _ring(clip, steps, {i: [*bank.prompted] for i, bank in banks.items()})
    images = clip.images.in_order(step.frame for step in steps)
    for first in range(0, len(steps), STEPS_A_WAIT):
        some = steps[first : first + STEPS_A_WAIT]
        answers = [
            _queue_step(clip, banks, ring, step, levels) for step, levels in zip(some, images)
        ]
        do(_write_steps, clip, ring, some, answers, keep)
        yield first + len(some)


def _ring(clip: Clip, steps: Sequence[Step], prompted: Mapping[int, list[int]]) -> Ring:
    """Empty places for all objects that are tracked, as many as one can need."""
    tracked = sorted({i for step in steps for i in step.objects})
    prompted = {i: prompted[i] for i in tracked}
    memories, pointers = places(prompted, len(clip.images), clip.window)
    dims = clip.engines.entry("sam2_track").inputs
    sizes = {
        "memory": tuple(int(size) for size in dims["bank"][2:]),
        "pointer": tuple(int(size) for size in dims["pointers"][2:]),
    }
    return Ring(clip.engines, tracked, memories, pointers, sizes)


def _queue_step(
    clip: Clip, banks: dict[int, Bank], ring: Ring, step: Step, levels: Levels
) -> Answer:
    """Queue one step of all objects. Their banks are replaced, their masks on the way."""
    frame = step.frame
    for i in step.objects:
        attended = attend(banks[i], frame, len(clip.images), step.reverse, clip.window)
        ring.attend(i, banks[i], attended)
    answer = resident.call(clip.engines, "sam2_track", **levels, **ring.inputs())
    for i in step.objects:
        memory, pointer = (answer.arrays[name][ring.row(i)] for name in ("memory", "pointer"))
        banks[i] = remember(banks[i], frame, MemoryEntry(memory, pointer), clip.window)
    return answer.fetch(("masks",))


def _write_steps(
    clip: Clip, ring: Ring, steps: Sequence[Step], answers: Sequence[Answer], keep: Keep
) -> None:
    """Wait for the last step, then write the masks of all."""
    for step, answer in zip(reversed(steps), reversed(answers)):
        masks = answer.get()["masks"]
        for i in step.objects:
            keep(step.frame, i, fill_holes(masks[ring.row(i)], clip.fill_holes_area))
