# Every target is a thin caller of `cargo xtask`, which sets up what it needs: see `cargo xtask --help`.
.DEFAULT_GOAL := help
.PHONY: help demo test e2e soak bench-engine bench-ledger clean-cluster

help: ## Show this list.
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: ## A Kubernetes, Orion on it, one job from kubectl apply to paid.
	@cargo xtask demo

test: ## Everything that CI runs.
	@cargo xtask test

e2e: ## The scenarios against a real platform, in pods if it can, REPEAT times (default 1).
	@cargo xtask e2e --repeat $(or $(REPEAT),1)

soak: ## What takes hours: the simulator over 300 seeds, all floats, a thousand kills of the ledger and a million of its histories, bits on other runtimes, the scenarios ten times. Results are kept in docs/soak.md.
	@ORION_SIM_SEEDS=300 cargo test --workspace --locked --test sim
	@ORION_TEST_SEED=$$(date +%s) cargo test --package orion-engine --locked --test shapes --test math
	@ORION_CRASH_CYCLES=1000 cargo test --package orion-ledger --locked --test crash -- --nocapture
	@ORION_LEDGER_HISTORIES=1000000 cargo test --release --package orion-ledger-core --locked --test invariants --test golden -- --nocapture
	@ORION_CHECKER_CHANGES=all cargo test --package orion-ledger-core --locked --test checker -- --nocapture
	@cargo build --workspace --locked --example all_floats && target/debug/examples/all_floats
	@cargo xtask bits
	@cargo xtask e2e --repeat 10

bench-engine: ## The engine beside onnxruntime, rten and OpenBLAS; the table goes to docs/benchmarks.
	@cargo xtask bench-engine

bench-ledger: ## The ledger in release mode and as it is shipped: entries a second, waits, proofs, memory, disk; the table goes to docs/benchmarks.
	@cargo xtask bench-ledger

clean-cluster: ## Remove the demo's cluster and all that belongs to it.
	@cargo xtask cluster down
