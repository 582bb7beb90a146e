"""The transparency log: Merkle tree, signed notes, checkpoints, tiles, proofs.

    merkle.py       hashes, roots, proofs of inclusion and of consistency (RFC 6962)
    note.py         text with signatures below it (C2SP signed-note)
    checkpoint.py   a log's size and root as a note, and witnesses' cosignatures (C2SP tlog-checkpoint, tlog-cosignature)
    tiles.py        a log as files that never change (C2SP tlog-tiles)
    proof.py        that an entry is in a witnessed log, as a file (C2SP tlog-proof)

Pure: nobody here opens a file or a connection.
"""
