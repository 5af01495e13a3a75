"""Turns the published PyTorch checkpoints into the graphs that `samotion` runs."""

STAGING = ".samotion-export-"  # how a folder's name begins while it is being written
