"""Training of one run: session, loop, record, checkpoint, cost."""
