"""The steps of the pipeline, the Celery app, and the table "state -> task that is due"."""
