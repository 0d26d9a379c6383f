"""Edit many videos: jobs are cut into segments, which several processes write and a retry finds."""
