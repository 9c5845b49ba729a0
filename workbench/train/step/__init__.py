"""Parts of an optimiser step in which the host does not wait for the device."""
