"""Summaries, figures and pictures."""
