"""An institution's own page: the result, and clips of public prompts that were made here. Never anything private."""
