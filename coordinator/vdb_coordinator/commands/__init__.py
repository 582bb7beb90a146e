"""What the commands of vdb-coordinator do, one module for each group."""
