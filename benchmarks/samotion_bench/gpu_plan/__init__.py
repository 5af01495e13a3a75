"""make gpu-check: short steps on a GPU, most telling first, each leaving its table at once."""
