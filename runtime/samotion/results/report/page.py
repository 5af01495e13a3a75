"""The page: its data, styles and scripts in one file that no browser lets reach the network."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files as resources

from samotion.manifest import write_atomically
from samotion.results.material import Material
from samotion.results.record import REPORT
from samotion.results.report import data, frames

SCRIPTS = ("page.js", "drawing.js", "player.js", "charts.js")
GENERATOR = '<meta name="generator" content="samotion">'


def files(material: Material) -> list[str]:
    """One file."""
    return [REPORT]


def write(material: Material) -> None:
    """Write report.html."""
    text = to_html(material)
    write_atomically(material.target.tree / REPORT, text.encode("utf-8", "backslashreplace"))


def to_html(material: Material) -> str:
    """The whole page."""
    pictures = frames.encode(material.result)
    facts = data.collect(material, pictures)
    # names and warnings come from outside: within the tag no "<" may end it
    told = json.dumps(facts, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    body = (
        f"<header>{_head(material)}</header><main></main><footer>{data.MADE_BY}</footer>"
        "<noscript><main><p>This page draws the clip with a script of its own; switch scripts"
        " on to see it.</p></main></noscript>"
        f'<script type="application/json" id="data">{told}</script>'
    )
    icon = f'<link rel="icon" href="data:image/jpeg;base64,{pictures.thumbnail}">'
    return document(material.target.name, body, _source(SCRIPTS), icon)


def document(title: str, body: str, script: str = "", head: str = "") -> str:
    """An HTML page with our style. The browser runs this one script and loads nothing."""
    style = _source(("page.css",))
    allowed = f"script-src '{_hash(script)}'; " if script else ""
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; {allowed}"
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{GENERATOR}<title>{escape(title)} · samotion</title>{head}"
        f"<style>{style}</style></head><body>{body}"
        f"{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )


def _head(material: Material) -> str:
    facts = "".join(
        f"<span><b>{escape(value)}</b> {escape(name)}</span>"
        for value, name in data.headline(material)
    )
    warnings = "".join(f"<p>{escape(line)}</p>" for line in material.result.warnings)
    told = f'<div class="warnings" role="note">{warnings}</div>' if warnings else ""
    return f'<h1>{escape(material.target.name)}</h1><div class="facts">{facts}</div>{told}'


@cache
def _source(names: Sequence[str]) -> str:
    """Our own files beside this one, joined. Scripts share one scope, which is no global one."""
    texts = [(resources(__package__) / name).read_text(encoding="utf-8") for name in names]
    joined = "\n".join(texts)
    return f"(() => {{{joined}}})();" if names[0].endswith(".js") else joined


def _hash(source: str) -> str:
    """As Content-Security-Policy names a script or style that may run."""
    return f"sha256-{b64encode(sha256(source.encode()).digest()).decode()}"
