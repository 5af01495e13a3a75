"""Synthetic scenes and the training of the bundled nano weights."""
