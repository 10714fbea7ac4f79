"""One asset: built, certified, packaged, loaded back."""
