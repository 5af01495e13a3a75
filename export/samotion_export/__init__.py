"""Turns the published PyTorch checkpoints into the graphs that `samotion` runs."""
