"""Real-looking inputs to trace and compare graphs on; engines are proved on the same."""

from samotion.backends.proof.examples import frames, tracks

__all__ = ["frames", "tracks"]
