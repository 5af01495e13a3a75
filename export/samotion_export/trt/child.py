"""The process that builds an engine: it can be stopped, and never outlives who waits for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from samotion.contract import SIGNATURES
from samotion.errors import DeviceError, EngineError

from samotion_export.report import Report

NO_KERNEL = "could not find any implementation"  # TensorRT's words


class NoKernelError(EngineError):
    """TensorRT has no implementation for a part of a graph."""


def run_builder(
    command: list[str], variables: Mapping[str, str], name: str, report: Report
) -> None:
    """Run the builder, its words going to the report; it never outlives this call."""
    said: list[str] = []
    with _child(command, variables) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.rstrip())
            report.detail(f"{name}: {line.rstrip()}")
    if process.returncode:
        raise _failure(name, said, process.returncode)


@contextmanager
def _child(command: list[str], variables: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, **variables}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            yield process
            process.wait()
        finally:
            process.kill()


def _failure(name: str, said: list[str], code: int) -> Exception:
    """What went wrong, from the builder's last words."""
    text = "\n".join(said).lower()
    marked = [line for kind in ("[E]", "[!]") for line in said if line.startswith(kind)]
    # polygraphy's own last word is that there is no engine
    problem = (marked or said[-1:] or [""])[0]
    net = SIGNATURES[name].net
    if "out of memory" in text or "outofmemory" in text or code == -9:
        return DeviceError(
            f"{name}: out of memory while building ({problem}); close other programs and run again"
        )
    if "cuda initialization failure" in text or "cudaerror" in text:
        return DeviceError(f"{name}: CUDA does not work here ({problem}); run samotion-check")
    kind = NoKernelError if NO_KERNEL in text else EngineError
    return kind(
        f"{name}: TensorRT cannot build it (exit code {code}: {problem}); see samotion-export"
        f" {net} -v"
    )
