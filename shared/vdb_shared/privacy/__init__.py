"""Differential privacy: how much noise a promise needs, how statistics become lanes, and what a release costs."""
