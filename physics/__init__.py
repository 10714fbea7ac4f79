"""Rigid-body facts about solids: geometry, mass, hulls, materials, and two engines that must agree."""
