"""`/api/v1`: everything that a program needs, described by itself (`/api/v1/openapi.json`, `/api/v1/docs`)."""
