"""Effects of the budget in studies that run their cells at several budgets (`Study.over`)."""
