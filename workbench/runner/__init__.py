"""What runs the processes of a study."""
