"""The participant's agent: the only code that sees videos, prompts, features and mask seeds.

import vdb_participant
vdb_participant.run("spec.toml", "DIR")     # the local evaluation, in a notebook or a program
"""

from vdb_participant.notebook import Plot, Run, run

__all__ = ["Plot", "Run", "run"]
