"""What an optimiser step is made of, so that the host never waits for the device in it."""
