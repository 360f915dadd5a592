PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check docs clean

# The main job on the embedded videos: grow a network step by step, contract it to the target, show why.
demo: RUN := demo-$(shell date +%Y%m%d-%H%M%S)
demo: $(STAMP)
	$(BIN)/expander search --space tiny --target-gflops 0.0011 --run $(RUN)
	$(BIN)/expander report $(RUN) --format html --out runs/$(RUN)/report/index.html

# Everything that must hold: format, types, all tests, slow ones included.
test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist worksteal

# What a change is tried with before it is committed: all but what takes long.
check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

# The pages of docs/ as a site in site/index.html. A dead link is an error.
docs: $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .[docs]
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .[test]
	touch $(STAMP)

clean:
	rm -rf $(VENV) build site dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
