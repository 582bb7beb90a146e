"""Metrics as sums: what one record contributes, and what follows from the sums."""
