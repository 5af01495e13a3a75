"""What tests share: fakes, media, small graphs, and the original nets' answers."""
