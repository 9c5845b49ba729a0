# Two commands: `make study` answers the question, `make test` checks the code. Both set up first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STUDY ?= mask_ratio
WORKERS ?= auto
ARGS ?=
RESULTS ?= results

.PHONY: study test oracles faults check format dashboard mlflow clean

study: $(VENV)/ready
	$(BIN)/python -m workbench.study $(STUDY) --workers $(WORKERS) --results $(RESULTS) $(ARGS)

# One process more than there are cores, since a third of the tests' time is waiting for processes that they start.
# In their own order: xdist would begin with the files that have most tests, and so end with a single slow one.
test: $(VENV)/ready
	$(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder \
	  -n $$($(BIN)/python -c "import os; print(len(os.sched_getaffinity(0)) + 1)") $(ARGS)

oracles: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[oracles]'

faults: $(VENV)/ready
	WORKBENCH_FAULTS=full $(BIN)/python -m pytest -m fault --timeout 3600 $(ARGS)

check: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

dashboard: $(VENV)/ready
	$(BIN)/streamlit run app/dashboard.py -- $(RESULTS)

mlflow: $(VENV)/ready
	$(BIN)/python -m workbench.tracking show --results $(abspath $(RESULTS))

$(VENV)/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
