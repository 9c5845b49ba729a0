"""One run: session, loop, record, checkpoint, cost."""
