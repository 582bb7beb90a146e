"""The running process: server, clock, log, and the sessions in memory that follow from stored events."""
