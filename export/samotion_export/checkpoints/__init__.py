"""Weight files: found, downloaded, read and checked."""
