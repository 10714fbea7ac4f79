"""Seeds to signed-distance volumes, and volumes to closed surfaces."""
