# env: the environment; demo: one adaptive scan; test: the default tests; check: format, lint, types, tests
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: env demo test check lint

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || python3 -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

demo: env
	@rm -rf runs/demo
	$(BIN)/tomopilot simulate phantom:chip::2 --count 4 --budget 16 --out runs/demo

test: env
	$(BIN)/python -m pytest -q -n auto --dist loadfile

lint: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

check: lint test
