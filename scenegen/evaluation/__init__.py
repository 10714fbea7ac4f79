"""What a trained checkpoint is worth, measured on samples that nobody chose or repaired."""
