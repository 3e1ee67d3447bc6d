"""Other projects' recommenders in the same evaluation; imported when asked for, where installed."""
