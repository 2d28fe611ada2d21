PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.smartworker-ready
API := tests/typing/api.py
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: run test test-faults lint wheel setup pictures bench bench-quick

run: $(READY)
	@exec $(BIN)/smartworker dev

# Most tests wait for processes: two at a time, each file in one of them.
test: lint wheel
	cd build/tested && ../venv/bin/mypy $(API)
	cd build/tested && ../venv/bin/pytest --wheel -n 2 --dist loadfile

# The whole fault matrix: processes, servers and connections that end at the wrong time.
test-faults: $(READY)
	$(BIN)/pytest -m "full or not full" tests/faults

# The pictures of the README, from the real pages; needs chromium.
pictures: $(READY)
	PYTHONPATH=. $(BIN)/python docs/pictures.py

# What it costs and how fast it is, beside its peers: over an hour, on a quiet machine.
bench: $(READY)
	$(BIN)/python -m benchmarks

# The same, roughly, in under five minutes once the peers are installed.
bench-quick: $(READY)
	$(BIN)/python -m benchmarks --quick

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy $(API)
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32 -p smartworker

# What would be published, in build/dist, and what `make test` needs to try it.
wheel: $(READY)
	.ci/wheel

setup: $(READY)

# The stamp comes last, so a set-up that was cut short starts again.
$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
		echo "smartworker needs Python 3.11 or newer, and there is no $(PYTHON) here: install it, or name yours with make $(or $(MAKECMDGOALS),run) PYTHON=python3.12" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "smartworker needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version): name a newer one with make $(or $(MAKECMDGOALS),run) PYTHON=python3.12" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "This Python cannot make virtual environments: on Debian and Ubuntu, apt-get install python3-venv" >&2; \
		exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) install 'pip>=25.1' -c constraints.txt
	$(PIP) install -e '.[dev,web,qstash,postgres,review,metrics,flower]' --group test \
		-c constraints.txt
	@touch $@
