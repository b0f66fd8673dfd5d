"""Walking a listing: the pager, the engine of a walk, checkpoints, time windows."""
