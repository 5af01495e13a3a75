"""The engine folder that comes with samotion: nano's graphs, and its weights stored once."""
