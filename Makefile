# Two commands do everything: `make demo` and `make test`. Both build their own environment first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed-$(shell cksum < requirements.txt | cut -d' ' -f1)
RUNS ?= runs

.PHONY: demo test lint proof ui clean

demo: $(READY)  ## train a supernet on digits, search step schedules, report the front
	$(BIN)/python -m jobs.demo --out $(RUNS)/demo

test: $(READY)  ## the whole suite, under 15 minutes on two cores
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations=15

lint: $(READY)
	$(BIN)/ruff check .

proof: $(READY)  ## slow proofs of the results that the README claims
	$(BIN)/python -m pytest -q -m proof -rP

ui: $(READY)  ## compare runs in MLflow
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server --host 127.0.0.1 --port 5000 \
	    --workers 1 --backend-store-uri sqlite:///$(abspath $(RUNS))/mlflow.db

$(READY): requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "stepwise needs Python 3.11 ($(PYTHON) not found; make PYTHON=... names another)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@rm -f $(VENV)/.installed-* && touch $@

clean:
	rm -rf $(VENV)
