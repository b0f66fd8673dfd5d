"""Watch executions while they run: a live view on a terminal, plain lines elsewhere.

`board` is the state, fed by events; `facts` reads a record; `layout` makes lines of a board that fit a screen;
`live_view` shows them.
"""
