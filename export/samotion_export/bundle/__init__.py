"""Writing the engine folder that comes with samotion: nano as graphs that read their weights where they lie once."""
