"""Changes that guard an invariant, each in its caller's transaction."""
