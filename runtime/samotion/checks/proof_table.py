"""The part of a manifest that says how its engines did on a GPU, as it is read."""

from __future__ import annotations

from typing import Any

from samotion.checks.json_tables import short, table, text

PLACE = ("gpu", "driver", "tensorrt")  # what a proof holds for


def proof_of(data: object) -> dict[str, Any]:
    """The proof in parsed JSON. Raises KeyError, ValueError or TypeError for what is no proof."""
    proof = dict(table(data, "proof"))
    if not proof:
        return proof
    for key in PLACE:
        text(proof[key], f"{key} of the proof")
    for name, known in table(proof["engines"], "engines of the proof").items():
        known = table(known, f"proof of {short(name)}")
        text(known["sha256"], f"hash in the proof of {short(name)}")
        if "problem" in known:
            text(known["problem"], f"problem of {short(name)}")
        for output, figures in table(known.get("outputs", {}), f"proof of {short(name)}").items():
            _numbers(table(figures, f"proof of {short(output)}"))
    if masks := table(proof.get("masks", {}), "masks of the proof"):
        text(masks["clip"], "clip of the proof")
        _numbers({key: masks[key] for key in ("mask_iou", "limit")})
    return proof


def _numbers(figures: dict[str, Any]) -> None:
    for measure, value in figures.items():
        if type(value) not in (int, float):
            raise ValueError(f"{short(measure)} of the proof is {short(value)}, expected a number")
