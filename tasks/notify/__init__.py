"""Those who wait are told: endpoints and deliveries."""
