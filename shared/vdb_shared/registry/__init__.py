"""The model registry, as data: what each pipeline class can be asked for, and which models are known.

Promises that every fact is a line of a TOML file, read strictly, and that clips which a class cannot make are refused with
the nearest that it can. Loads no framework. Leaves verifying weights and running models to the participant.
"""
