"""The participant's agent: the only code that sees videos, prompts, features and mask seeds."""
