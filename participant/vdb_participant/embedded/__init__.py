"""The embedded default: made-up clips with words, and tiny models trained on them; a self-test, no judge of real models."""
