"""Lines to those who are told: Standard Webhooks, guarded addresses."""
