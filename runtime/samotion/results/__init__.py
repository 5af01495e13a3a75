"""Results go out: masks, overlay, objects, tracks and run.json."""
