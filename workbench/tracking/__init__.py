"""Records of runs: the run directory (`run_dir`), the run table (`runs`), the mirror in MLflow (`mlflow`)."""
