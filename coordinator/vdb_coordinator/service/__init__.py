"""The gRPC services: transport, identity of callers, and errors. What they do stands in the modules above."""
