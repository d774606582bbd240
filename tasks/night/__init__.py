"""Our books against customs': reconcile, repair, restored backups, the audit."""
