"""The client side of the wire: calls, retries, and what went wrong in plain words."""
