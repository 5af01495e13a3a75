"""What comes in place of a checkpoint, told by its first bytes."""

from __future__ import annotations

_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<script", b"<!--")
_POINTER = b"version https://git-lfs"


def foreign_kind(head: bytes) -> str | None:
    """In words, what a file is that begins with `head` and is no checkpoint (None: it may be
    one).
    """
    start = head[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not start:
        return "nothing"
    if start.startswith(_PAGES):
        return "a web page"
    if start.startswith(_POINTER):
        return "a git-lfs pointer"
    return None
