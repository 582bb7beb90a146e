"""An institution's data directory: records, video files, sizes. Reads only."""
