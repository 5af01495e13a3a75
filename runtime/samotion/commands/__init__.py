"""The commands, and what they share: exit codes and progress."""

from samotion.commands.exits import exit_code, explain, run_command
from samotion.errors import is_disk_error

__all__ = ["exit_code", "explain", "is_disk_error", "run_command"]
