# make help lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo demo-down check lint types contracts shell unit golden \
  test images test-here test-apart molecule bench engine lock clean
# programs that are started many times read their bytecode instead of compiling their source
unexport PYTHONDONTWRITEBYTECODE

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

check: $(VENV)/dev ## lint, types, import contracts, shell scripts, unit, golden and @fake tests
	@$(MAKE) --no-print-directory --jobs 2 --output-sync unit lint types contracts shell

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types:
	$(BIN)/mypy deploy tests bench
	$(BIN)/mypy deploy.py

contracts:
	$(BIN)/lint-imports --no-logo

shell:
	$(BIN)/shellcheck scripts/* .ci/run $$(find tests/scripts tests/images/bin -type f -executable)
	$(BIN)/shellcheck --shell sh deploy/scripts/*.sh

unit:
	$(BIN)/pytest -q -n 2 -m "not e2e"

golden: $(VENV)/dev ## write every golden file anew; read the difference before committing it
	@$(BIN)/python -m tests.sizing.published_later
	@UPDATE_GOLDEN=1 $(BIN)/pytest -q -m golden
	@git --no-pager diff --stat

test: engine $(VENV)/molecule ## make check, and end-to-end tests with real containers and hosts
	@scripts/install-packages mmdebstrap chromium fonts-dejavu-core docker-registry openssh-server
	@$(MAKE) --no-print-directory --jobs 2 --output-sync check images
	@echo "end-to-end tests, in two groups at the same time: about 40 minutes"
	@$(MAKE) --no-print-directory --jobs 2 --output-sync test-here test-apart

images: $(VENV)/dev engine
	@$(BIN)/python -m tests.e2e.images

test-here:
	$(BIN)/pytest -q --durations 5 -m "e2e and not apart"

test-apart:
	$(BIN)/pytest -q --durations 5 -m apart
	@$(MAKE) --no-print-directory molecule

molecule: $(VENV)/molecule engine ## a fresh host over SSH, deployed to twice and looked at
	@scripts/install-packages mmdebstrap openssh-client
	@mkdir -p .cache/home
	PATH="$(abspath $(BIN)):$$PATH" HOME="$(abspath .cache/home)" LC_ALL=C.UTF-8 PYINFRA_PROGRESS=off \
	  molecule test -s individual

bench: $(VENV)/runtime $(ANSIBLE)/installed engine ## measure, and compare with Ansible; writes docs/benchmarks.md
	@scripts/install-packages mmdebstrap openssh-server openssh-client
	$(BIN)/python -m bench

engine: ## make sure that Docker runs on this machine
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
