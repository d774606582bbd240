"""The processes: their composition root, worker, submitter, sender, scheduler."""
