"""Stages, executors and the content-addressed store."""
