# make demo   a demonstration, start to end, in var/demo
# make test   lint, types, import contracts and all tests; installs what it needs
# make test-browser  the pages in a real Chromium (part of make test); PICTURES=docs/pictures makes the manual's pictures
# make bench  figures of this machine, printed
# make faults processes killed at every point, customs and databases failing: a referee judges
# make audit  known weaknesses of the dependencies
# make lock   resolve the dependencies anew

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-browser lint bench faults audit lock system-packages clean

demo: $(VENV)/installed
	$(BIN)/blankforms demo

test: $(VENV)/installed-dev system-packages lint
	$(BIN)/pytest -n 4 --dist loadfile

test-browser: $(VENV)/installed-dev system-packages
	$(BIN)/pytest tests/browser -n 2 --dist loadfile

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# QUICK=1: every part but the variants, once and small, to see that it runs
bench: $(VENV)/installed-dev system-packages
	$(BIN)/python -m bench $(if $(QUICK),--quick)

# QUICK=1: each fault on one of the two databases and half of the whole systems, by turns of the seed; else all. FULL=1: many trials of every
# fault, every test on every database, many more calls of the API made up, and small changes to the critical code, each
# of which a test must notice. Always the seeded bugs.
faults: $(VENV)/installed-dev system-packages
	$(BIN)/python -m tests.faults $(if $(FULL),--trials 15 --jobs 6,--jobs 4 $(if $(QUICK),--sample))
	$(if $(FULL),SCHEMATHESIS_EXAMPLES=200 $(BIN)/pytest -n 4 --dist loadfile --all-databases --timeout 3000)
	$(if $(FULL),$(BIN)/python -m tests.mutants)

# What no wheel has, for the tests alone: a software token, an independent judge of signatures, systemd's judge of
# units, a browser; and two programs that are taken out of their packages, so that no service of theirs is installed.
system-packages: $(VENV)/tools/promtool $(VENV)/tools/nginx
	@command -v softhsm2-util >/dev/null && command -v xmlsec1 >/dev/null && command -v systemd-analyze >/dev/null && command -v pkcs11-tool >/dev/null && command -v chromium >/dev/null || { \
	  echo "make test: installing softhsm2, xmlsec1, systemd, opensc, chromium and a Chinese font (apt-get, needs root)"; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends softhsm2 xmlsec1 systemd opensc chromium fonts-wqy-microhei >/dev/null; }

$(VENV)/tools/promtool: PACKAGE = prometheus
$(VENV)/tools/nginx: PACKAGE = nginx
$(VENV)/tools/%: | $(VENV)/installed
	@echo "make test: taking $* out of Debian's package $(PACKAGE) (apt-get download)"
	@mkdir -p $(VENV)/tools/unpacked
	@cd $(VENV)/tools/unpacked && { apt-get download -qq $(PACKAGE) 2>/dev/null || \
	  { apt-get update -qq && apt-get download -qq $(PACKAGE); }; } && dpkg-deb -x $(PACKAGE)_*.deb .
	@find $(VENV)/tools/unpacked -type f -name $* -path '*bin*' -exec mv {} $@ \;
	@rm -rf $(VENV)/tools/unpacked
	@test -x $@

$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/installed-dev: requirements-dev.lock $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@

# Known weaknesses of what is locked. Needs PyPI itself: mirrors do not answer this question.
audit:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	.venv-audit/bin/pip-audit --disable-pip --require-hashes -r requirements.lock

# uv is only needed here. No download addresses in the lock files.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header pyproject.toml --extra build -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header pyproject.toml --extra build --extra dev -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf $(VENV) .venv-audit var
