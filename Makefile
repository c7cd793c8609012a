# One word per habit; `make` alone lists them. Each calls dev.py, which makes the environment when it is missing.
# T=path and ARGS='-k name' narrow the tests.
.DEFAULT_GOAL := help
DEV := python3 dev.py
T ?=
ARGS ?=

.PHONY: help up holdfast setup fix lint test offline conformance opengradient x402 zkml package vectors docs bench check
help: ## List targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z0-9-]*:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
up: ## Start Holdfast on this machine
	@$(DEV) up $(ARGS)
holdfast: ## Run a holdfast command of the environment, like ARGS=chat
	@$(DEV) holdfast $(ARGS)
setup: ## Create the environment and install the git hooks
	@$(DEV) setup
fix: ## Format and apply safe fixes
	@$(DEV) fix
lint: ## Style, types, layers, spelling (changes nothing)
	@$(DEV) lint
test: ## Run the tests; T=path and ARGS='-k name' narrow them
	@$(DEV) test $(T) $(ARGS)
offline: ## Unit, vector and property tests with the network removed
	@$(DEV) offline $(ARGS)
conformance: ## Drive our own command line over the vectors as a stranger would
	@$(DEV) conformance $(ARGS)
opengradient: ## Run OpenGradient's own clients, unchanged, against a network of ours
	@$(DEV) opengradient $(ARGS)
x402: ## Let the clients of x402's authors pay a network of ours
	@$(DEV) x402 $(ARGS)
zkml: ## Prove runs of models with EZKL, and check the proofs
	@$(DEV) zkml $(ARGS)
package: ## Install the base package alone and drive it over the vectors
	@$(DEV) package
vectors: ## Make the vectors again; the difference must be empty
	@$(DEV) vectors
docs: ## Refresh generated blocks in the documents
	@$(DEV) docs $(ARGS)
bench: ## Run the measurements
	@$(DEV) bench $(ARGS)
check: ## Everything a change needs before review
	@$(DEV) check
