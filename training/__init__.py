"""What training and trained runs need: tasks, losses, metrics, run folders, reports, search."""
