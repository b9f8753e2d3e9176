# The verbs that people and CI share. `make demo` and `make test` work on a bare machine with Python
# and a C++ compiler; everything is kept in .venv and build/.

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
BIN = $(VENV)/bin
# Bytecode is compiled when a module is first imported: most modules that are installed never are.
INSTALL = $(BIN)/python -m pip install --quiet --no-compile
EXTRAS ?= test,segment

GPU_VERBS = gpu-bundle gpu-check gpu-smoke gpu-test gpu-memcheck gpu-racecheck gpu-synccheck \
  gpu-profile gpu-bench
.PHONY: $(GPU_VERBS) help setup build test lint format emulate emulated threads nvcc cuda-build
.PHONY: test-emulated test-emulated-asan test-emulated-scan aarch64
.PHONY: resources bench cpu-bench performance demo clean

help:
	@echo "setup   virtual environment with the dependencies, and the package built into it"
	@echo "test    all tests that need no GPU          demo    simulate, train, evaluate, predict"
	@echo "bench   benchmarks of every op              lint    ruff, mypy, clang-format"
	@echo "emulate CUDA kernels on the host, under sanitizers"
	@echo "test-emulated  tests of the ops and the student, on CUDA kernels emulated on the host"
	@echo "test-emulated-asan, test-emulated-scan  the same under AddressSanitizer; a whole scan"
	@echo "aarch64 CPU kernels for Arm, run by qemu-user (g++-aarch64-linux-gnu, qemu-user)"
	@echo "threads CPU kernels on real threads, under sanitizers, and without x86's instructions"
	@echo "nvcc    compile every CUDA source           performance  docs/performance.md from results"
	@echo "cuda-build  pip install with a torch that has CUDA, and what can be tested without a GPU"
	@echo "resources  registers of every kernel, into docs/resources.md"
	@echo "cpu-bench  the figures of a CPU in docs/performance.md"
	@echo "gpu-check  tests and sanitizers on a GPU    gpu-bench  benchmarks on a GPU, with peers"
	@echo "gpu-bundle  what is carried to a GPU machine without a network (docs/gpu.md)"

# ---- environment -------------------------------------------------------------------------------

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	$(INSTALL) "$(TORCH)" numpy
	touch $@

# Every source is listed, so that a second call builds nothing when nothing changed.
SOURCES = setup.py tools/build_flags.py pyproject.toml $(wildcard csrc/*/*)
$(VENV)/.built: $(VENV)/.torch $(SOURCES)
	$(INSTALL) -e ".[$(EXTRAS)]"
	touch $@

setup build: $(VENV)/.built

test: setup
	$(BIN)/python -m pytest --doctest-modules tests elite_ops

demo: setup
	$(BIN)/elite demo

bench: setup
	$(BIN)/python -m pytest benchmarks --benchmark-only

FORMATTED = $(wildcard csrc/*/* benchmarks/*.cpp tests/csrc/*.cpp tests/csrc/*.cu tests/csrc/*.h \
  tests/csrc/threads/* $(addprefix tests/csrc/emulated_device/,*.cpp */*.h */*/*.h) \
  $(addprefix tests/csrc/emulation/,*.h emulator/* cub/device/*))

$(VENV)/.linters: $(VENV)/.built pyproject.toml
	$(INSTALL) --group dev
	touch $@

lint: $(VENV)/.linters
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(FORMATTED)

format: $(VENV)/.linters
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .
	$(BIN)/clang-format -i $(FORMATTED)

clean:
	rm -rf build

include tools/make/emulated.mk tools/make/threads.mk tools/make/cuda.mk tools/make/gpu.mk
include tools/make/bundle.mk
