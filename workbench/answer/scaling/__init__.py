"""What more compute brings, of a study that runs its cells at several budgets (`Study.over`)."""
