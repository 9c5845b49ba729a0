"""Records of runs: the run directory (`run_dir`), the run table (`runs`) and its mirror in MLflow (`mlflow`)."""
