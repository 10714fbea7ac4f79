"""The learned generator: sparse volumes by Spatial Sparse Attention. Torch may be imported anywhere in this folder."""
