# make help lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo demo-down check test test-here test-over-ssh molecule bench engine lock clean

VENV := .venv
BIN := $(VENV)/bin
INVENTORY := inventories/demo.py
ANSIBLE := .cache/ansible

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## deploy a whole stack on this machine, with a tiny model, and show where it answers
	@scripts/demo $(INVENTORY)

demo-down: $(VENV)/runtime ## remove the demo, with its data
	@$(BIN)/atelier down $(INVENTORY) --volumes --yes

check: $(VENV)/dev ## lint, types, import contracts, unit, golden and @fake tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy deploy tests bench
	$(BIN)/mypy deploy.py
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest -q -n 2 -m "not e2e"

test: check engine $(VENV)/molecule ## make check, and end-to-end tests with real containers and hosts
	@scripts/install-packages mmdebstrap chromium fonts-dejavu-core docker-registry openssh-server
	@echo "end-to-end tests on this machine, and beside them those over SSH: about half an hour"
	@$(MAKE) --no-print-directory --jobs 2 --output-sync test-here test-over-ssh

test-here:
	$(BIN)/pytest -q --durations 5 -m "e2e and not over_ssh"

test-over-ssh:
	$(BIN)/pytest -q --durations 5 -m over_ssh
	@$(MAKE) --no-print-directory molecule

molecule: $(VENV)/molecule engine ## a fresh host over SSH, deployed to twice and looked at
	@scripts/install-packages mmdebstrap openssh-client
	PATH="$(abspath $(BIN)):$$PATH" LC_ALL=C.UTF-8 PYINFRA_PROGRESS=off molecule test -s individual

bench: $(VENV)/runtime $(ANSIBLE)/installed engine ## measure, beside Ansible; writes docs/benchmarks.md
	@scripts/install-packages mmdebstrap openssh-server openssh-client
	$(BIN)/python -m bench

engine: ## make sure that a container engine runs on this machine
	@scripts/ensure-engine

lock: $(VENV)/dev ## pin the dependencies anew
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
