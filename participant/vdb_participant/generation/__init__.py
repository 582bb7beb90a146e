"""Generation: seeded clips from pinned local pipelines, kept losslessly."""
