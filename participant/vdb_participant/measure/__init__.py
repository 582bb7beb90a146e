"""Measurement: from lossless clips to bounded statistics."""
