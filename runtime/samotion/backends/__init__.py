"""The door to the engines: one call, whatever the backend."""
