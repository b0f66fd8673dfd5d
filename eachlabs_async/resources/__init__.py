"""The resources of a client, one file each: methods that check their arguments and call the packages below.

`transport` sends requests, `pagination` walks listings, `bulk` fetches many ids, and `jobs` creates executions, maps
inputs and waits.
"""
