"""engines/manifest.json: what lies in an engine folder, from what it was built, and how to trust
it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from samotion.checks.external_data import external_files
from samotion.checks.json_tables import dims, read_table, short, short_line, table, text
from samotion.checks.preset_numbers import preset_of
from samotion.checks.proof_table import proof_of
from samotion.contract import NETS, SIGNATURES, engines_of
from samotion.errors import EngineError
from samotion.presets import Preset

SCHEMA = 2
MANIFEST = "manifest.json"
BUNDLED = Path(__file__).parent / "nano"  # the engine folder that comes with samotion
MOST_NUMBER = 1 << 16  # of what `meta` counts: frames and pointers
TEMPORARY_PREFIX, TEMPORARY_SUFFIX = ".samotion-", ".tmp"


@dataclass(frozen=True)
class Entry:
    """One engine file. `inputs` and `outputs` map names to dims, `parity` every output to its
    error.
    """

    file: str
    sha256: str
    onnx_sha256: str
    weights_sha256: str
    precision: str
    inputs: Mapping[str, list[int | str]]
    outputs: Mapping[str, list[int | str]]
    parity: Mapping[str, Mapping[str, float]]
    source: str  # hash of all that decided this file; export rebuilds when it changes
    # numbers the runtime needs that no shape shows
    meta: Mapping[str, Any] = field(default_factory=dict)
    gpu: str | None = None
    tensorrt: str | None = None
    # sha256 of each file that the graph keeps its weights in
    data: Mapping[str, str] = field(default_factory=dict)
    spelling: str = "cpu"  # in which operators the graph is written: for a cpu or a gpu
    rtx: bool = False  # `tensorrt` is a TensorRT for RTX, whose engines run on GPUs of many kinds


def meta_number(meta: Mapping[str, Any], name: str) -> int:
    """A whole number of an entry's `meta`, 1 or more. Raises EngineError where it is something
    else.
    """
    value = meta.get(name)
    if type(value) is not int or not 1 <= value <= MOST_NUMBER:
        raise EngineError(
            f"the manifest says {name} {short(value)}; expected a whole number; export again"
        )
    return value


@dataclass(frozen=True)
class Manifest:
    """The whole file. `tools` maps a package to the version that exported.

    `numbers` are those of the preset as exported, nested as in presets.py. `sam2`, `refine_px` and
    `overrides` say what was chosen instead of the preset's, as the export's options have it.
    """

    preset: str
    tools: Mapping[str, str]
    engines: Mapping[str, Entry]
    numbers: Mapping[str, Any]
    sam2: str | None = None
    schema: int = SCHEMA
    # what half precision costs a clip's masks; parity/clip.py
    masks: Mapping[str, Any] = field(default_factory=dict)
    refine_px: int | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    # how TensorRT engines did on a GPU beside their graphs; backends/proof
    proof: Mapping[str, Any] = field(default_factory=dict)
    # as the last export had them, None: left out; some nets' engines are the same for all of them
    target: str | None = None
    precision: str | None = None

    def get_preset(self) -> Preset:
        """The preset as exported. Raises EngineError for numbers that no preset can have."""
        try:
            return preset_of(self.preset, self.numbers)
        except ValueError as error:
            raise EngineError(f"the manifest's {short_line(error)}; export again") from error

    def command(self, nets: str, folder: str | os.PathLike[str], target: str | None = None) -> str:
        """The command that exports `nets` anew into `folder`, as it was, or for another
        `target`.
        """
        target = target or self.tensorrt_target() or self.target
        if target is None and any(e.spelling == "gpu" for e in self.engines.values()):
            target = "onnx-gpu"
        half = self.precision == "fp16" or any(e.precision == "fp16" for e in self.engines.values())
        words = ["samotion-export", *nets.split(), "--preset", self.preset]
        words += ["--sam2", self.sam2] if self.sam2 else []
        words += ["--refine-px", str(self.refine_px)] if self.refine_px else []
        for name, value in self.overrides.items():
            words += ["--set", f"{name}={value}"]
        words += ["--precision", "fp16"] if half else []
        words += ["--target", target] if target else []
        return f"{shlex.join(words)} --out {typed(folder)}"

    def tensorrt_target(self) -> str | None:
        """The kind of TensorRT that the folder is built for, as export's --target has it; None:
        it holds graphs.
        """
        built = [entry for entry in self.engines.values() if entry.tensorrt]
        if not built:
            return None
        return "rtx" if any(entry.rtx for entry in built) else "tensorrt"

    def missing_nets(self) -> list[str]:
        """The nets of the preset that lack an engine here."""
        preset, held = self.get_preset(), self.engines.keys()
        return [net for net in NETS if not set(engines_of(net, getattr(preset, net))) <= held]

    def engines_of(self, net: str) -> list[str]:
        """The names of one net's engines that lie here."""
        return [name for name in self.engines if SIGNATURES[name].net == net]

    def all_nets(self) -> str:
        """The nets that lie here, as export's argument: `all`, or their names."""
        held = {SIGNATURES[name].net for name in self.engines}
        nets = [net for net in NETS if net in held]
        return "all" if len(nets) in (0, len(NETS)) else " ".join(nets)


def typed(path: str | os.PathLike[str]) -> str:
    """A path as one types it in a shell: in quotes."""
    text = str(path)
    return repr(text) if shlex.quote(text) in (text, repr(text)) else shlex.quote(text)


def sha256_of(path: Path) -> str:
    """The hash of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside `path` and rename, so that a reader sees the old file or the new one, never
    half.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, data: object, indent: int | None = None) -> None:
    """Write JSON as `write_atomically` writes bytes, with a line's end."""
    write_atomically(path, (json.dumps(data, indent=indent) + "\n").encode())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path` that takes its place when the block ends, and goes when the block
    fails.
    """
    # a name of our own choice is known before the file is there, whenever a signal comes
    name = f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    temporary = path.with_name(name)
    try:
        temporary.touch(0o600, exist_ok=False)
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)  # it has its new name already, or was never made
        raise


def is_temporary(name: str) -> bool:
    """Whether a file's name is one that `replacing` gives: a killed run leaves such files
    behind.
    """
    return (
        re.fullmatch(
            f"{re.escape(TEMPORARY_PREFIX)}[a-z0-9_]{{8}}{re.escape(TEMPORARY_SUFFIX)}", name
        )
        is not None
    )


def write(folder: Path, manifest: Manifest) -> None:
    """Put the manifest into its folder; it appears whole."""
    write_json(folder / MANIFEST, asdict(manifest), indent=2)


def read(folder: str | os.PathLike[str]) -> Manifest:
    """Read and check a folder's manifest. Raises EngineError naming the folder and the command
    that makes one.
    """
    path = Path(folder) / MANIFEST
    advice = f"make one with: samotion-export all --preset nano --out {typed(folder)}"
    if os.path.isfile(folder):
        raise EngineError(
            f"{str(folder)!r} is a file; expected a folder that samotion-export wrote"
        )
    if not os.path.isdir(folder):  # False for names that no file can have
        raise EngineError(f"no engine folder at {str(folder)!r}; {advice}")
    try:
        if not path.is_file():
            raise EngineError(f"no {MANIFEST} in {str(folder)!r}; {advice}")
        data = read_table(path)
        if type(data["schema"]) is not int or data["schema"] != SCHEMA:
            schema = f"schema {short(data['schema'])}, expected {SCHEMA}"
            raise EngineError(f"{path}: {schema}; {_another_export(data, folder)}")
        manifest = _manifest(data, data["numbers"])
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror}") from error
    except KeyError as error:
        raise EngineError(f"{path} is damaged ({error} is missing); {advice}") from error
    except (ValueError, TypeError) as error:
        raise EngineError(f"{path} is damaged ({short_line(error)}); {advice}") from error
    if unknown := [name for name in manifest.engines if name not in SIGNATURES]:
        raise EngineError(f"{path} names unknown engines {', '.join(unknown)}; {advice}")
    try:
        preset_of(manifest.preset, manifest.numbers)
        _check_sizes(manifest.engines)
    except ValueError as error:
        raise EngineError(
            f"{path} is damaged, or of another samotion ({short_line(error)});"
            f" {_another_export(data, folder)}"
        ) from error
    return manifest


def _check_sizes(engines: Mapping[str, Entry]) -> None:
    """Raises ValueError where an engine's recorded sizes are not those that the contract fixes."""
    for name, entry in engines.items():
        signature, recorded = SIGNATURES[name], {**entry.inputs, **entry.outputs}
        for tensor in (*signature.inputs, *signature.outputs):
            sizes = recorded.get(tensor.name, tensor.dims)
            if any(isinstance(own, int) and own != one for own, one in zip(tensor.dims, sizes)):
                expected = ", ".join(map(str, tensor.dims))
                raise ValueError(f"{tensor.name} of {name} is not ({expected})")


def _another_export(data: dict[str, Any], folder: str | os.PathLike[str]) -> str:
    """How to get a folder of this samotion in place of one with a manifest that it cannot use."""
    if Path(folder) == BUNDLED:
        return "install samotion again"
    try:
        held = _manifest(data, {})
        return f"export again: {held.command(held.all_nets(), folder)}"
    except (KeyError, ValueError, TypeError):
        return "export again with this samotion"


def _manifest(data: dict[str, Any], numbers: object) -> Manifest:
    """The manifest of parsed JSON, its `numbers` not looked into.

    Raises KeyError, ValueError or TypeError for what is missing or of a wrong kind.
    """
    refine_px = data.get("refine_px")
    if refine_px is not None and type(refine_px) is not int:
        raise ValueError(f"refine_px is {short(refine_px)}, expected a whole number")
    overrides = table(data.get("overrides", {}), "overrides")
    for name, value in overrides.items():
        text(name, "the name of an override")
        text(value, f"override {name!r}")
    return Manifest(
        text(data["preset"], "preset"),
        table(data["tools"], "tools"),
        {name: _entry(name, entry) for name, entry in table(data["engines"], "engines").items()},
        table(numbers, "numbers"),
        _option(data, "sam2"),
        masks=table(data.get("masks", {}), "masks"),
        refine_px=refine_px,
        overrides=overrides,
        proof=proof_of(data.get("proof", {})),
        target=_option(data, "target"),
        precision=_option(data, "precision"),
    )


def _option(data: dict[str, Any], name: str) -> str | None:
    """What an option of the export was, None where it was left out."""
    value = data.get(name)
    return None if value is None else text(value, name)


def _entry(name: str, data: Any) -> Entry:
    name = repr(text(name, "an engine's name"))
    entry = Entry(**table(data, f"engine {name}"))
    texts = "file", "sha256", "onnx_sha256", "weights_sha256", "precision", "source", "spelling"
    for part in texts:
        text(getattr(entry, part), f"{part} of {name}")
    for part in ("gpu", "tensorrt"):
        if (value := getattr(entry, part)) is not None:
            text(value, f"{part} of {name}")
    for output, errors in table(entry.parity, f"parity of {name}").items():
        table(errors, f"parity of {name}, {short(output)}")
    for part in ("inputs", "outputs"):
        for tensor, sizes in table(getattr(entry, part), f"{part} of {name}").items():
            dims(sizes, f"dims of {name}, {short(tensor)}")
    if type(entry.rtx) is not bool:
        raise ValueError(f"rtx of {name} is {short(entry.rtx)}, expected true or false")
    table(entry.meta, f"meta of {name}")
    for file, sha256 in table(entry.data, f"data of {name}").items():
        text(file, f"a file of {name}")
        text(sha256, f"the hash of {short(file)}")
    return entry


def checked_file(folder: str | os.PathLike[str], name: str, manifest: Manifest) -> Path:
    """The path of an engine's file, once it and all files that it points to are known to be those
    of its export.

    Raises EngineError for one that lies outside `folder`, is missing, is not in the manifest, or
    hashes otherwise.
    """
    entry = manifest.engines[name]
    try:
        path = _file_inside(folder, entry.file, entry.sha256)
        for data in () if entry.tensorrt else sorted(external_files(path)):
            if data not in entry.data:
                raise EngineError(
                    f"{entry.file} points to {data!r}, which the manifest does not list"
                )
            _file_inside(folder, data, entry.data[data])
    except EngineError as error:
        raise EngineError(f"engine {name!r}: {error}; {_advice(folder, name, manifest)}") from error
    return path


def _advice(folder: str | os.PathLike[str], name: str, manifest: Manifest) -> str:
    if Path(folder) == BUNDLED:
        return "install samotion again"
    return f"export again: {manifest.command(SIGNATURES[name].net, folder)}"


def _file_inside(folder: str | os.PathLike[str], file: str, sha256: str) -> Path:
    """The path of a file that lies inside `folder`, links followed, and hashes as recorded."""
    root = Path(folder).resolve()
    try:
        path = (root / file).resolve()
        if path.parent != root:
            raise EngineError(f"the manifest's path {file!r} leaves the engine folder")
        if not path.is_file():
            raise EngineError(f"{file} is missing from {str(folder)!r}")
        got = sha256_of(path)
    # links in a circle, a byte that no path has
    except (OSError, RuntimeError, ValueError) as error:
        raise EngineError(f"the manifest's path {file!r} leads nowhere that can be read") from error
    if got != sha256:
        raise EngineError(
            f"{file} was changed since its export (sha256 {got[:12]}, expected {sha256[:12]})"
        )
    return path
