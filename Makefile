# Two targets for everyone: `make demo` and `make test`. Both set up a virtual environment by themselves.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test kills lives debits faults mutants fuzz mutation cluster setup check protos clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@echo "installing into $(VENV); this takes a few minutes once"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[coordinator,participant,dev]'
	touch $(READY)

demo: setup
	$(BIN)/python deploy/demo/run.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy shared coordinator participant tests deploy benchmarks
	$(BIN)/lint-imports
	cd protos && ../$(BIN)/buf lint
	cd protos && for base in released/*; do ../$(BIN)/buf breaking --against $$base || exit 1; done

# One process more than there are cores, up to four, since many tests wait for clocks and other programs; WORKERS=… chooses. A file's tests
# stay together, since they share what took long to make, and whole stories, which take longest, come first.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(4, len(os.sched_getaffinity(0)) + 1))')
test: check
	$(BIN)/python tests/testkit/footage.py
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# Thirty SIGKILLs at random moments of a run of 20 clips; SEED=… chooses the moments.
kills: setup
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m testkit.killing --kills 30 --seed $(or $(SEED),1) $$(mktemp -d)

# An agent killed at 50 random points of its whole life, from enrolment to countersigning, with real generation; SEED=… chooses them.
lives: setup
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m testkit.life_kills --kills 50 --seed $(or $(SEED),1) $$(mktemp -d)

# 500 sites killed at random moments while they pay and send, then power cuts after every file operation of a debit (needs strace).
debits: setup
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m testkit.debiting --seeds 500 $$(mktemp -d)
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m testkit.power_cuts --disks 40

# The fault campaign: failpoints of both sides, 200 sessions with random kills, 600 power losses (strace), messages, network, clocks,
# disks and certificates. SEED=… chooses the moments, PARTS=… some of it; the table is written to REPORT=… (docs/faults.md).
faults: setup
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m testkit.faults --seed $(or $(SEED),1) $(if $(PARTS),--parts $(PARTS)) \
		--report $(or $(REPORT),$(VENV)/faults) $$(mktemp -d)

# 3000 malformed media files through `data check` and measuring's decoder; SEED=… chooses how they are spoilt.
mutants: setup
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m testkit.mutants --mutants 3000 --seed $(or $(SEED),1) $$(mktemp -d)

# Damaged inputs for every parser of the verifier, then inputs that atheris breeds, for SECONDS=… seconds each; SEED=… chooses the damage.
fuzz: setup
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m testkit.fuzzing --seconds $(or $(SECONDS),3600) --seed $(or $(SEED),1)
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m testkit.guided_fuzzing --seconds $(or $(SECONDS),3600) --seed $(or $(SEED),1)

# Small wrong changes of the verifier and the bundle, one at a time, against their tests; takes hours (docs/mutation-testing.md).
# What became of each is kept in RECORD=…, from which a run that was cut short goes on.
mutation: setup
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m testkit.mutation_testing shared/vdb_shared/audit shared/vdb_shared/bundle \
		--jobs 2 --resume $(or $(RECORD),$(VENV)/mutation.jsonl)

# Generation on a Ray cluster of two machines, as far as Ray can tell; installs the extra `cluster` (80 MB) first.
cluster: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[cluster]'
	$(BIN)/python -m pytest tests/unit/participant/test_cluster.py

protos: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Ivdb_shared/wire=protos/vdb/v1 \
	  --python_out=shared --grpc_python_out=shared --mypy_out=shared --mypy_grpc_out=shared \
	  vdb_shared/wire/federation.proto

clean:
	rm -rf $(VENV) demo-out
