"""Owns the version of the package, for the build and for the User-Agent; nothing else."""

__version__ = "0.1.0"
