"""From weights to an engine folder: export, compare, and only then put in place, one net at a
time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import filelock
from samotion import contract, manifest
from samotion.checks.preset_numbers import numbers_of
from samotion.errors import EngineError, OutputError, UsageError, reason
from samotion.manifest import Entry, Manifest, sha256_of

from samotion_export import STAGING, staging_in
from samotion_export.build import build_engines, build_net, load_net
from samotion_export.parity import card
from samotion_export.parity import clip as half_clip
from samotion_export.report import Report
from samotion_export.request import Request
from samotion_export.source import Source, find_source, tools
from samotion_export.spelling import GRAPHS_ONLY
from samotion_export.trt import build as trt_build

OLD_TENSORRT = 8  # has a spelling of its own


def export(request: Request, report: Report) -> list[Path]:
    """Build what is not current in `request.out`. Returns the files written, the manifest last."""
    preset = request.chosen()
    has_engines = request.target in trt_build.TARGETS
    device = trt_build.find_target(request.target) if has_engines else None
    if device and device.major == OLD_TENSORRT:
        request = replace(request, target=f"tensorrt-{OLD_TENSORRT}")
    with locked(request.out):
        _refuse_foreign(request)
        old = _read_old(request.out, report)
        held, written = _kept(old, request), list[Path]()
        sources = [find_source(net, getattr(preset, net), request, report) for net in request.nets]
        stale = [one for one in sources if request.force or not _is_current(request, held, one)]
        # the first of all is loaded before anything is replaced
        _check_given([one for one in stale if one is not sources[0]], request, report)
        _plan(request, report, device)
        for source in sources:
            held, paths = _build(source, source in stale, held, request, report, device)
            written += paths
        former = old if old and _facts(old) != _facts(held) else None
        if former and not written:
            manifest.write(request.out, held)  # all that lies there is what was asked for, too
        if former and _is_renamed(former, held):
            before = f"; it was {title(former)}" if written else ""
            report.note(f"{manifest.MANIFEST}: now {title(held)}{before}")
        judged = _judge_masks(held, request, report)
        if device and request.verify:
            judged = card.with_proof(request, judged, report)
        if written or former or judged is not held:
            written.append(request.out / manifest.MANIFEST)
        return written


def _plan(request: Request, report: Report, device: trt_build.Target | None) -> None:
    """Tell the report how many things there are to do."""
    graphs = sum(len(request.engines_of(net)) for net in request.nets)
    report.plan(2 * graphs if device else graphs, "graphs and engines" if device else "graphs")


def _check_given(sources: list[Source], request: Request, report: Report) -> None:
    """Load the user's checkpoints once: one that cannot be used is told before anything is
    replaced.
    """
    for source in sources:
        if source.net in request.checkpoints:
            load_net(source, request, report)


def _build(
    source: Source,
    is_stale: bool,
    held: Manifest,
    request: Request,
    report: Report,
    device: trt_build.Target | None,
) -> tuple[Manifest, list[Path]]:
    """Build what one net needs. Returns what the folder holds then, and the files written."""
    net = source.net
    count = len(request.engines_of(net))
    written: list[Path] = []
    if is_stale:
        _tell_other_weights(source, held, request, report)
        with _begun(request.out, held):
            entries, written = build_net(source, request, report)
        engines = _in_order({**held.engines, **entries})
        held = replace(held, tools=tools(), engines=engines, masks={})
        manifest.write(request.out, held)
    elif device:
        report.passed(None, count)
    if device is None:
        if not is_stale:
            report.passed(f"{net}: up to date", count)
        return held, written
    entries, paths = build_engines(device, net, held, request, report)
    held = replace(held, engines=_in_order({**held.engines, **entries}))
    if paths:
        manifest.write(request.out, held)
    elif not is_stale:
        report.note(f"{net}: up to date")
    return held, written + paths


@contextmanager
def _begun(out: Path, held: Manifest) -> Iterator[None]:
    """Before the first graph is in place there is a manifest, by which graphs of an export that
    broke off are known as ours.
    """
    path = out / manifest.MANIFEST
    is_first = not path.exists()
    if is_first:
        manifest.write(out, held)
    try:
        yield
    except BaseException:
        if is_first and not any(out.glob("*.onnx")):
            path.unlink()
        raise


def _tell_other_weights(source: Source, held: Manifest, request: Request, report: Report) -> None:
    """A net of the user's own weights does not become the published one in silence."""
    had = {e.weights_sha256 for n, e in held.engines.items() if n in request.engines_of(source.net)}
    if source.net not in request.checkpoints and had - {source.weights_sha256}:
        report.insist(
            f"{source.net}: was built from other weights ({had.pop()[:12]}...), and now from"
            f" {source.path.name}; to have them again: --checkpoint {source.net}=FILE"
        )


def _judge_masks(held: Manifest, request: Request, report: Report) -> Manifest:
    """Compare the masks of a whole clip where that is wanted. Returns the manifest as it is then,
    raises ParityError for masks too far off.
    """
    clip, lacking = half_clip.clip_for(request), half_clip.lacking(request, held)
    if not clip or lacking:
        if request.verify_clip and lacking:
            nets = ", ".join(lacking)
            report.note(f"masks are not compared: not in {str(request.out)!r} in fp16: {nets}")
        return held
    if half_clip.is_wanted(clip, request, held):
        held = half_clip.with_masks(
            clip, request, held, report, lambda plain: export(plain, Report(-1))
        )
    half_clip.judge(held.masks)
    return held


def _is_current(request: Request, held: Manifest, source: Source) -> bool:
    """Is every engine of the net there, whole, and built from the same things?"""
    for name in request.engines_of(source.net):
        entry = held.engines.get(name)
        if entry is None or entry.source != source.key or (request.verify and not entry.parity):
            return False
        if request.target in GRAPHS_ONLY and entry.tensorrt:
            return False
        try:
            manifest.checked_file(request.out, name, held)
        except EngineError:
            return False
        graph = request.out / f"{name}.onnx"
        if entry.tensorrt and not (graph.is_file() and sha256_of(graph) == entry.onnx_sha256):
            return False
    return True


def _refuse_foreign(request: Request) -> None:
    """Raise OutputError for files of somebody else that engines would replace."""
    path = request.out / manifest.MANIFEST
    here = []
    if not path.exists():
        names = [name for net in request.nets for name in request.engines_of(net)]
        here = [request.out / f"{name}.onnx" for name in names]
    elif _is_of_others(path):
        here = [path]
    if foreign := [one.name for one in here if one.exists()]:
        raise OutputError(
            f"{str(request.out)!r} holds {foreign[0]!r}, which samotion-export did not write;"
            " choose another --out"
        )


def _is_of_others(path: Path) -> bool:
    """Whether a manifest.json is whole, and none of samotion's."""
    if path.is_dir():
        return True
    try:
        table = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return not isinstance(table, dict) or not table.keys() & {"engines", "preset", "schema"}


def _read_old(out: Path, report: Report) -> Manifest | None:
    """The manifest that lies in the folder, None where there is none or it cannot be used."""
    if not (out / manifest.MANIFEST).exists():
        return None
    try:
        return manifest.read(out)
    except EngineError as error:
        report.note(f"{error}; building anew")
        return None


def _kept(old: Manifest | None, request: Request) -> Manifest:
    """What of the old manifest may stay: the nets that its preset and the wanted one share.

    The others must be rebuilt in the same command, for a folder never mixes two presets.
    """
    new = _empty(request)
    if old is None:
        return new
    before, after = old.get_preset(), new.get_preset()
    shared = {net for net in contract.NETS if getattr(before, net) == getattr(after, net)}
    held = {contract.SIGNATURES[name].net for name in old.engines}
    if left := [net for net in contract.NETS if net in held - shared and net not in request.nets]:
        raise UsageError(
            f"{str(request.out)!r} holds {title(old)}, whose {', '.join(left)} differ from"
            f" those of {title(new)};"
            " export all, or choose another --out"
        )
    kept = {n: e for n, e in old.engines.items() if contract.SIGNATURES[n].net in shared}
    masks = old.masks if old.numbers == new.numbers else {}
    return replace(new, engines=kept, masks=masks, proof=old.proof)


def _empty(request: Request) -> Manifest:
    return Manifest(
        request.preset,
        tools(),
        {},
        numbers_of(request.chosen()),
        sam2=request.sam2,
        refine_px=request.refine_px,
        overrides=request.overrides,
        target=None
        if request.target == "onnx"
        else request.target.removesuffix(f"-{OLD_TENSORRT}"),
        precision=None if request.precision == "fp32" else request.precision,
    )


def _facts(held: Manifest) -> tuple[object, ...]:
    """What the manifest holds beside engines: the preset's numbers, and what a command repeats."""
    return title(held), held.numbers, held.target, held.precision


def _is_renamed(old: Manifest, new: Manifest) -> bool:
    """Do the same graphs belong to another preset now, or to one with other numbers?"""
    return title(old) != title(new) or old.numbers != new.numbers


def title(held: Manifest) -> str:
    """The preset of a folder with its changes, in words."""
    changes = [held.sam2, held.refine_px and f"refine_px {held.refine_px}"]
    changes += [f"{name}={value}" for name, value in held.overrides.items()]
    return " with ".join([f"preset {held.preset!r}", *(change for change in changes if change)])


def _in_order(engines: Mapping[str, Entry]) -> dict[str, Entry]:
    return {name: engines[name] for name in contract.SIGNATURES if name in engines}


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the out folder (made where needed) against other exports, and clear what a killed one
    left there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with staging_in(out):  # a folder may hold a lock of old, and take nothing new
            pass
        lock = filelock.FileLock(out / ".samotion-export.lock")
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise OutputError(
            f"another samotion-export is writing to {str(out)!r}; wait for it to end"
        ) from error
    except OSError as error:
        raise OutputError(
            f"cannot write to {str(out)!r}: {reason(error)}; choose another --out"
        ) from error
    try:
        for stale in out.glob(f"{STAGING}*"):
            shutil.rmtree(stale, ignore_errors=True)
        yield
    finally:
        lock.release()
