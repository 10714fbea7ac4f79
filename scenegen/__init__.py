"""Simulation-ready objects and scenes at scale, with proof."""

__version__ = "0.1.0"
