"""What comes from outside is checked here: arguments, JSON, and the files that a graph names."""
