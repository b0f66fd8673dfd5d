"""Owns one file a resource: its calls, thin. Each checks its arguments, expands a path and hands the rest on.

It refuses to send, to page and to fan out: the rooms above do.
"""
