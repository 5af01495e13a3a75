"""How right and how fast samotion is: the programs behind samotion-eval and samotion-bench."""
