"""Long point tracks: queries, tracking in windows, and live sources frame by frame."""

from samotion.tracks.features import FrameCache
from samotion.tracks.live import OnlineTracker, start, step
from samotion.tracks.queries import resize_for_tracking, sample_queries
from samotion.tracks.records import RawTracks, Tracks, filter_tracks, join, visibility_of
from samotion.tracks.tracking import sample_and_track, track

__all__ = [
    "FrameCache",
    "OnlineTracker",
    "RawTracks",
    "Tracks",
    "filter_tracks",
    "join",
    "resize_for_tracking",
    "sample_and_track",
    "sample_queries",
    "start",
    "step",
    "track",
    "visibility_of",
]
