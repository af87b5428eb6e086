"""What can be wrong before a training's first step, by theme; `training.preflight` lists all."""
