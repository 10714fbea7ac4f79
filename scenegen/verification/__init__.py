"""Verification of assets from anywhere: meshes and URDF files are judged as they are, by the checks of our own."""
