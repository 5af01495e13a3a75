"""Clips come in: video files, folders of frames and arrays."""
