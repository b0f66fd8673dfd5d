"""Create executions: send once, find again after a lost answer, wait, map over inputs, and keep a journal."""
