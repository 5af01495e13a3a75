"""samotion-bench --host: the real runtime over a stand-in GPU that counts copies and waits."""
