# make help lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo demo-down check checks lint types contracts shell quick unit thorough golden \
  test images test-drivers test-wide test-saturated test-faults test-long molecule bench engine lock clean
# programs that are started many times read their bytecode instead of compiling their source
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
INVENTORY := inventories/demo.py
SCENARIO := individual
MINUTES := 60
LEFT_OUT := long or faults or wide or drivers or saturated
ANSIBLE := .cache/ansible

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## deploy a whole stack on this machine, with a tiny model, and show where it answers
	@scripts/demo $(INVENTORY)

demo-down: $(VENV)/runtime ## remove the demo, with its data
	@$(BIN)/atelier down $(INVENTORY) --volumes --yes

check: $(VENV)/dev ## lint, types, import contracts, shell scripts, unit, golden and @fake tests but for slow ones
	@$(MAKE) --no-print-directory --jobs 2 --output-sync quick lint types contracts shell

checks: $(VENV)/dev ## make check, and the slow ones of these tests
	@$(MAKE) --no-print-directory --jobs 2 --output-sync unit lint types contracts shell

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types:
	$(BIN)/mypy deploy tests bench
	$(BIN)/mypy deploy.py config.py

contracts:
	$(BIN)/lint-imports --no-logo

shell:
	$(BIN)/shellcheck scripts/* .ci/run $$(find tests/scripts tests/images/bin -type f -executable)
	$(BIN)/shellcheck --shell sh deploy/scripts/*.sh templates/*/*.sh

quick:
	$(BIN)/pytest -q -n 3 --dist worksteal -m "not e2e and not slow"

unit:
	$(BIN)/pytest -q -n 2 --dist worksteal -m "not e2e and not long"

thorough: $(VENV)/dev ## try every property with ten times as many examples, other ones each time
	$(BIN)/pytest -q -n 2 --hypothesis-profile thorough $$(grep -rl --include '*.py' '^@given' tests)

golden: $(VENV)/dev ## write every golden file again; read the difference before committing it
	@$(BIN)/python -m tests.sizing.published_later
	@UPDATE_GOLDEN=1 $(BIN)/pytest -q -m golden
	@git --no-pager diff --stat

test: engine $(VENV)/molecule ## make checks, and end-to-end tests with real containers and hosts
	@scripts/install-packages mmdebstrap chromium fonts-dejavu-core docker-registry openssh-server gnupg
	@$(MAKE) --no-print-directory --jobs 2 --output-sync checks images
	@echo "end-to-end tests, three at the same time: about half an hour"
	@$(BIN)/pytest -v -n 3 --no-loadscope-reorder --durations 40 -m "not ($(LEFT_OUT))" tests/e2e

images: $(VENV)/dev engine
	@$(BIN)/python -m tests.e2e.images

test-faults: $(VENV)/dev engine ## an engine and a router that die under a load, loads and searches over SSH, on a machine with nothing else to do; not in make test
	$(BIN)/pytest -q --durations 5 -m faults tests/e2e

test-long: $(VENV)/dev engine ## what takes minutes each: several hosts, replacements under load, every point to be killed at, backups; not in make test
	@scripts/install-packages mmdebstrap chromium fonts-dejavu-core docker-registry openssh-server
	$(BIN)/pytest -v -n 3 --no-loadscope-reorder --durations 40 -m long tests

test-drivers: $(VENV)/dev engine ## what takes long with drivers of GPUs: a Docker that has CDI, NVIDIA's own tools; not in make test
	@scripts/install-packages mmdebstrap openssh-server gnupg
	$(BIN)/pytest -q --durations 5 -m drivers tests/e2e

test-wide: $(VENV)/dev engine ## vLLM itself on the CPUs of two hosts over SSH, which takes 13 GB in two volumes; not in make test
	@scripts/install-packages mmdebstrap openssh-client
	$(BIN)/pytest -q --durations 5 -m wide tests/e2e

test-saturated: $(VENV)/dev engine ## vLLM on CPUs with five times as many clients as places, for MINUTES=60; not in make test
	E2E_SATURATED_MINUTES=$(MINUTES) $(BIN)/pytest -q -s -m saturated tests/e2e

molecule: $(VENV)/molecule engine ## a fresh host over SSH, deployed to twice and looked at; SCENARIO=users_20 or users_100: those stacks
	@scripts/install-packages mmdebstrap openssh-client
	@mkdir -p .cache/home
	PATH="$(abspath $(BIN)):$$PATH" HOME="$(abspath .cache/home)" LC_ALL=C.UTF-8 PYINFRA_PROGRESS=off \
	  molecule test -s $(SCENARIO)

bench: $(VENV)/runtime $(ANSIBLE)/installed engine ## measure, and compare with Ansible; writes docs/benchmarks.md
	@scripts/install-packages mmdebstrap openssh-server openssh-client
	$(BIN)/python -m bench

engine: ## make sure that Docker runs on this machine
	@scripts/ensure-engine

lock: $(VENV)/dev ## pin the dependencies again
	scripts/lock

clean: ## remove the environment and every cache
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info

$(VENV)/runtime: requirements/runtime.txt requirements/bootstrap.txt pyproject.toml
	@scripts/make-environment $(VENV) runtime

$(VENV)/molecule: $(VENV)/dev requirements/molecule.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/molecule.txt
	@touch $@

$(VENV)/dev: requirements/dev.txt requirements/bootstrap.txt pyproject.toml
	@scripts/make-environment $(VENV) dev

$(ANSIBLE)/installed: requirements/bench.txt $(VENV)/runtime
	@$(BIN)/python -m venv $(ANSIBLE)
	@$(BIN)/uv pip install --quiet --python $(ANSIBLE)/bin/python --require-hashes -r $<
	@touch $@
