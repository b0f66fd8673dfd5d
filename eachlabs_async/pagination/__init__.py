"""Walking a listing: pagers, the rules of each way of paging, checkpoints, time windows."""
