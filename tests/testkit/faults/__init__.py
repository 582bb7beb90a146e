"""The fault campaign: what may befall a coordinator and its institutions, one fault at a time, and whether promises were kept.

    python -m testkit.faults --report FOLDER SCRATCH

Each part names its faults and returns an `Outcome` for each; `history.py` compares what everybody wrote down.
"""
