"""Mirrors of run directories beside MLflow's, which `--also NAME` asks for: `known` has the names."""
