"""What a deployment may choose. The environment is read here alone."""
