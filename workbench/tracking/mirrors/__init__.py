"""Mirrors of run directories beside MLflow's, which `--also NAME` asks for: `registry` has the names."""
