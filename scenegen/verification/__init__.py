"""Verification of assets from anywhere: meshes, URDF and MJCF files go through the checks of our own, as they are."""
