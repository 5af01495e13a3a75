"""Rendered clips with exact ground truth: measured on here, trained on by `samotion_training`."""
