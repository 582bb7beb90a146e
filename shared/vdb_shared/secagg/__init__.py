"""Secure aggregation `vdb-secagg/1`: bytes, keys, shares and masks; the state machines live in the two `rounds.py`."""
