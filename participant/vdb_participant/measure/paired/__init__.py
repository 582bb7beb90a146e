"""Scores of a clip against a reference clip, frame by frame, from pixels alone."""
