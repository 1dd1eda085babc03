"""3. Log -> lake: records become immutable files that the manifest lists; every row exactly once."""
