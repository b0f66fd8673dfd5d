"""Owns one file a resource: its calls, thin. Each checks its arguments, expands a path and hands the rest on."""
