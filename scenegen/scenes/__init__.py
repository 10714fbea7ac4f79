"""Many assets in one world: placed, settled, verified, exported."""
