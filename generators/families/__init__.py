"""Analytic object families: one file each, a deterministic shape and a sampler of its parameters."""
