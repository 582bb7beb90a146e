"""Self-test material: procedural captioned clips and tiny random models. Never a judge of real models."""
