"""Flask: customs' status callbacks, health, metrics. Small; nothing else."""
