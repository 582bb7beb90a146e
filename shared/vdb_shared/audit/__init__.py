"""Offline verification of result bundles: numbered checks, reports and the leaderboard. No torch, no gRPC, no network."""
