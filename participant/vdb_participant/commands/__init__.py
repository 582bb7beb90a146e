"""What the commands of vdb-participant do, one module for each group."""
