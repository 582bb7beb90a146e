"""Everything an auditor must trust, and nothing else: pure computation, no torch, no gRPC."""

__version__ = "0.1.0"
