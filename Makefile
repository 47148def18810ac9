# Two commands do everything: `make up` shows the product, `make test` proves it.
VENV := .venv
RELIARY := $(VENV)/bin/reliary
# Files of tests side by side: those with servers wait more than they compute, and choose free ports.
WORKERS := 3

.PHONY: help up status down check test lint bench lock clean

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

up: $(VENV)/ready ## Start the example stack, wait until it is healthy, print addresses and a first table
	$(RELIARY) up examples/aether

status: $(VENV)/ready ## How every tenant of the example is doing
	$(RELIARY) status examples/aether

down: $(VENV)/ready ## Stop the example stack; what it recorded is kept
	$(RELIARY) down examples/aether

check: $(VENV)/ready ## Every problem of the example, and every proof
	$(RELIARY) tools > /dev/null
	$(RELIARY) check examples/aether

lint: $(VENV)/ready ## Style, types, and which way imports go
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

test: $(VENV)/ready lint ## Get what the tests need, then run everything
	scripts/test-servers
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile

bench: $(VENV)/ready ## Print the figures of benchmarks/, about a quarter of an hour
	$(VENV)/bin/python benchmarks/startup.py
	$(VENV)/bin/python benchmarks/compile_speed.py
	$(VENV)/bin/python benchmarks/accuracy.py
	$(VENV)/bin/python benchmarks/rule_cost.py
	$(VENV)/bin/python benchmarks/guards.py

lock: $(VENV)/ready ## Pin the newest dependencies that pyproject.toml allows
	$(VENV)/bin/pip install --quiet uv
	$(VENV)/bin/uv pip compile pyproject.toml --extra dev --extra docker --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-annotate --upgrade --quiet --output-file constraints.txt
	$(VENV)/bin/uv pip compile compose/requirements.in --constraints constraints.txt --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-annotate --upgrade --quiet --output-file compose/requirements.txt

$(VENV)/ready: constraints.txt pyproject.toml scripts/environment
	scripts/environment $(VENV)
	touch $@

clean: ## Remove what was generated, and the environment
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
