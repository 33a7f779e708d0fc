# `make help` lists the targets. The first of them sets everything up: only python3 (3.11+, with venv) and make are needed.
PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
READY := $(VENV)/.ready
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := 1
export PRESET DATA WEIGHTS STUDY MODEL PORT WORKERS
PORT ?= 5000
WORKERS ?= 1
.DEFAULT_GOAL := help
.PHONY: help setup repro robustness study test check format bench ui serve lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'
	@echo "options: PRESET=name DATA=/path WEIGHTS=/path (repro, study), STUDY=name WORKERS=2 (study), BENCH=row (bench), PORT=5000 (ui, serve), MODEL=models:/name@champion (serve)"

$(READY): requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "RoS-KD needs Python 3.11 or newer; name one with make PYTHON=python3.12")'
	test -x "$(VENV)/bin/python" || $(PYTHON) -m venv "$(VENV)"
	"$(VENV)/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	UV_HTTP_TIMEOUT=300 "$(VENV)/bin/uv" pip install --quiet --python "$(VENV)/bin/python" --require-hashes -r requirements.lock
	touch "$@"

setup: $(READY) ## create .venv and install the locked dependencies

repro: $(READY) ## run the whole experiment; PRESET=lesion-small DATA=/path runs it on your images
	@python -m pipeline.stages preset $${PRESET:+"$$PRESET"} $${DATA:+--data "$$DATA"} $${WEIGHTS:+--weights "$$WEIGHTS"}
	@dvc repro

robustness: $(READY) ## attack the students over the full grids (long; continues after a stop); trains nothing that is trained
	@python -m pipeline.stages preset parts/robustness
	@dvc repro

study: $(READY) ## search or ablate; STUDY=name (a grid of params.yaml, else a search) WORKERS=2
	@python -m pipeline.stages preset $${PRESET:+"$$PRESET"} $${DATA:+--data "$$DATA"} $${WEIGHTS:+--weights "$$WEIGHTS"}
	@dvc repro noise
	@python -m pipeline.study run "$${STUDY:-search}" --workers "$$WORKERS"

test: $(READY) ## run the tests, one process of one thread per core
	OMP_NUM_THREADS=1 python -m pytest -n auto --dist loadfile $(ARGS)

check: $(READY) ## lint (code and Dockerfile), format check and type check
	ruff check .
	ruff format --check .
	pyright
	@if command -v hadolint; then hadolint Dockerfile; else echo "hadolint has no wheel for this machine: the Dockerfile is not checked"; fi

format: $(READY) ## format the code
	ruff format .
	ruff check --fix .

bench: $(READY) ## run the benchmarks; BENCH=name runs one row (overhead, only_roskd, study_workers, default_seeds, heads, audit, coverage and abuse only so)
	python -m benchmarks $(BENCH)

ui: $(READY) ## compare runs in MLflow
	python -m pipeline.stages ui --port "$$PORT"

serve: $(READY) ## serve the registered champion over HTTP
	python -m pipeline.stages serve --port "$$PORT" $${MODEL:+--model "$$MODEL"}

COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --quiet

lock: $(READY) ## compile requirements.lock and requirements-serve.lock from their .in files
	$(COMPILE) --output-file requirements.lock requirements.in
	$(COMPILE) --constraint requirements.lock --output-file requirements-serve.lock requirements-serve.in

clean: ## remove what a pipeline run made (not .venv, not the tracked runs)
	rm -rf artifacts .pytest_cache .ruff_cache
