# make demo     embedded broker, first training, worker and live lists; ends by itself
# make test     every test but the long ones, with coverage and the count of real-broker tests
# make lint     ruff, mypy --strict, import-linter; licences and known vulnerabilities of what freshet needs
# make docs     the site of docs/ into build/docs
# make bench    the reference workload beside its peers, and memory per user (needs a real broker)
# make bench-lists   lists a second of one core with the network on, beside the bare arithmetic
# make bench-large   lists of large catalogues through the index, beside exact ones
# make bench-one     one event alone beside faiss, cornac and RecTools, those of them that are installed
# make bench-item-cf   fitting item CF beside implicit's, where it is installed
# make bench-quick   ratios to plain loops beside the accepted ones, in half a minute; fails 1.3 times past them
# make bench-scale   what scales with workers, partitions, users and items, beside the sizing model
# make bench-training   training beside a plain loop; give BENCH="TRAIN TEST --columns ... --time-unit s"
# make bench-training-memory   the most memory that a training on 10 million events from Parquet takes, at most 4 GB
# make bench-latency   from producing an event to reading its list, beside a bare echo
# make bench-recovery   from kill -9 to the first list, beside a bare read of the changelog
# make stress   the long tests
# make soak     an hour's steady load (SOAK_S seconds): figures, samples and a plot in soak/
# make kafka    Apache Kafka's jars into .kafka, where KAFKA_HOME and ../shared/kafka are absent
# make lock     renews requirements.lock from the ranges of pyproject.toml
# make clean    removes everything these made, .venv included

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test lint docs bench bench-lists bench-large bench-one bench-item-cf bench-quick bench-scale \
  bench-training bench-training-memory bench-latency bench-recovery stress soak kafka lock clean

help:
	@sed -n 's/^# make/make/p' Makefile

# The stamp is newer than the lock when the environment is that of the lock.
$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

DEMO ?= --events 10000

demo: $(READY)
	$(BIN)/freshet demo $(DEMO)

# A real-broker test mostly waits: for a JVM, a session timeout, an acknowledgement. So two run at a time,
# each process with a broker of its own; a file's tests stay together and share what they set up.
PROCESSES ?= 2

test: $(READY)
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --cov --cov-report=term $(TESTS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.support.licences
	$(BIN)/python -m tests.support.vulnerabilities

docs: $(READY)
	$(BIN)/python -m docs.generated
	$(BIN)/python -m docs.sizing
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs build/docs

bench: $(READY)
	$(BIN)/python -m tests.bench.bench_streaming $(BENCH)
	$(BIN)/python -m tests.bench.bench_memory

# On one thread: numpy reads as it starts how many its products may use.
bench-lists: $(READY)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.bench.bench_lists $(BENCH)

bench-large: $(READY)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.bench.bench_large $(BENCH)

bench-one: $(READY)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.bench.bench_one $(BENCH)

bench-item-cf: $(READY)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.bench.bench_item_cf $(BENCH)

bench-quick: $(READY)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.bench.quick $(BENCH)

bench-scale: $(READY)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.bench.bench_scale $(BENCH)

bench-training: $(READY)
	$(BIN)/python -m tests.bench.bench_training $(BENCH)

bench-training-memory: $(READY)
	$(BIN)/python -m tests.bench.bench_training_memory $(BENCH)

bench-latency: $(READY)
	$(BIN)/python -m tests.bench.bench_latency $(BENCH)

bench-recovery: $(READY)
	$(BIN)/python -m tests.bench.bench_recovery $(BENCH)

stress: $(READY)
	$(BIN)/python -m pytest -m stress $(TESTS)

soak: $(READY)
	$(BIN)/python -m tests.stress.soak

# A folder with libs/ is used as it is; only where there is none are the jars fetched, by Maven.
kafka:
	@if [ -n "$${KAFKA_HOME:-}" ]; then echo "using KAFKA_HOME: $$KAFKA_HOME"; \
	elif [ -d ../shared/kafka/libs ]; then echo "using ../shared/kafka"; \
	else $(MAKE) --no-print-directory .kafka/.ready; fi

.kafka/.ready: tests/support/kafka-pom.xml
	@command -v mvn >/dev/null || { echo "make kafka needs Maven (mvn), or set KAFKA_HOME" >&2; exit 1; }
	mvn --batch-mode --quiet --file $< dependency:copy-dependencies \
	  -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/.kafka/libs
	touch $@

# A new environment from the ranges, listed as it came out. The local suffix of a CPU build of torch
# is dropped, and so are the GPU libraries, which torch itself pins: the lock then suits both.
lock:
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet '.[dev,docs,bench,tune,s3,large,compiled]'
	.venv-lock/bin/python -m pip list --format=freeze --exclude freshet --exclude pip \
	  | sed 's/+[a-z0-9.]*$$//' | grep --invert-match --extended-regexp '^(nvidia-|cuda-|triton)' > requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf $(VENV) .venv-lock .kafka build *.egg-info .coverage .coverage.* .pytest_cache .mypy_cache \
	  .ruff_cache .import_linter_cache .hypothesis
	find models stream tests -name __pycache__ -type d -prune -exec rm -rf {} +
