"""Scenes of thousands: planned in cells, settled and verified in components that cannot touch each other."""
