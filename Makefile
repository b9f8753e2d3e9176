# The verbs that people and CI share. `make demo` and `make test` work on a bare machine with Python
# and a C++ compiler; everything is kept in .venv and build/.

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
BIN = $(VENV)/bin
# Bytecode is compiled when a module is first imported: most modules that are installed never are.
INSTALL = $(BIN)/python -m pip install --quiet --no-compile
EXTRAS ?= test,segment

GPU_CHECKS = gpu-test gpu-memcheck gpu-racecheck gpu-synccheck gpu-initcheck
.PHONY: $(GPU_CHECKS) help setup build test lint format emulate emulated threads nvcc resources bench cpu-bench gpu-check gpu-bench performance demo clean

help:
	@echo "setup   virtual environment with the dependencies, and the package built into it"
	@echo "test    all tests that need no GPU          demo    simulate, train, evaluate, predict"
	@echo "bench   benchmarks of every op              lint    ruff, mypy, clang-format"
	@echo "emulate CUDA kernels on the host, under sanitizers"
	@echo "threads CPU kernels on real threads, under sanitizers, and without x86's instructions"
	@echo "nvcc    compile every CUDA source           performance  docs/performance.md from results"
	@echo "resources  registers of every kernel, into docs/resources.md"
	@echo "cpu-bench  the figures of a CPU in docs/performance.md"
	@echo "gpu-check  tests and sanitizers on a GPU    gpu-bench  benchmarks on a GPU, with peers"

# ---- environment -------------------------------------------------------------------------------

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	$(INSTALL) "$(TORCH)" numpy
	touch $@

# Every source is listed, so that a second call builds nothing when nothing changed.
SOURCES = setup.py pyproject.toml $(wildcard csrc/*/*)
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
  tests/csrc/threads/* \
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

# ---- on a GPU ------------------------------------------------------------------------------------
# Nothing is installed or downloaded: the Python, torch, pytest and nvcc of the machine are used, and
# other libraries come as wheels in the folder PEERS (docs/performance.md).

GPU_PYTHON ?= python3
PEERS ?= peers
GPU_RESULTS ?= gpu
GPU_BENCH_OPTIONS ?=
SANITIZER_TOOLS ?= memcheck racecheck synccheck initcheck
SANITIZED ?= tests/ops -k "not real_scan and not compile"
PEERS_PATH = PYTHONPATH=$(CURDIR)/build/peers:$(CURDIR)
WITH_PEERS = $(PEERS_PATH) $(GPU_PYTHON)

build/gpu/.built: $(SOURCES)
	@mkdir -p $(@D)
	ELITE_CUDA=1 $(GPU_PYTHON) setup.py build_ext --inplace > build/gpu/build.log 2>&1 \
	  || (tail -n 60 build/gpu/build.log; exit 1)
	touch $@

gpu-check: gpu-test $(SANITIZER_TOOLS:%=gpu-%)

gpu-test: build/gpu/.built build/peers/.unpacked
	$(WITH_PEERS) -m pytest tests -m gpu

# The same tests under each of the sanitizer's tools: what the emulation can't show. Memory comes
# straight from CUDA, so that every allocation has its own bounds. Only our kernels are watched, save
# by initcheck, which has to see who else writes.
gpu-memcheck gpu-racecheck gpu-synccheck: WATCHED = --kernel-name kns=elite_ops
$(SANITIZER_TOOLS:%=gpu-%): gpu-%: build/gpu/.built build/peers/.unpacked
	$(PEERS_PATH) PYTORCH_NO_CUDA_MEMORY_CACHING=1 \
	  compute-sanitizer --tool $* $(WATCHED) --error-exitcode 1 \
	  $(GPU_PYTHON) -m pytest -m gpu $(SANITIZED) > build/gpu/$*.log 2>&1 \
	  && tail -n 3 build/gpu/$*.log || (tail -n 60 build/gpu/$*.log; exit 1)

build/peers/.unpacked: $(wildcard $(PEERS)/*)
	$(GPU_PYTHON) benchmarks/unpack_wheels.py $(PEERS) build/peers
	touch $@

gpu-bench: build/gpu/.built build/peers/.unpacked
	$(WITH_PEERS) benchmarks/record.py --name $(GPU_RESULTS) -k cuda $(GPU_BENCH_OPTIONS)
	$(GPU_PYTHON) benchmarks/report.py

# Everything that docs/performance.md says of a CPU: on all cores, then on one, where spconv is right.
OF_OPS_ALONE = lovasz or distillation or patch_to_point
cpu-bench: setup
	$(BIN)/python benchmarks/record.py --name cpu -k "cpu and not ($(OF_OPS_ALONE))"
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/record.py --name cpu-one-thread \
	  -k "cpu and not (threads or $(OF_OPS_ALONE))"
	$(BIN)/python benchmarks/report.py

performance: setup
	$(BIN)/python benchmarks/report.py

# ---- CUDA kernels on the host --------------------------------------------------------------------
# Each tests/csrc/test_<op>.cpp becomes a program that runs the unmodified csrc/cuda/*.cu, compiled by
# the host compiler against the stand-ins in tests/csrc/emulation (docs/kernels.md).

EMULATED = build/emulated
SANITIZE ?= -fsanitize=address,undefined -fno-sanitize-recover=all
EMULATED_FLAGS = -std=c++20 -O1 -g1 -fno-omit-frame-pointer -Wall -Wno-unknown-pragmas \
  -fdata-sections -ffp-contract=off $(SANITIZE) \
  -Itests/csrc/emulation -Itests/csrc -Icsrc -MMD -MP
EMULATED_OBJECTS = $(patsubst csrc/cuda/%.cu,$(EMULATED)/cuda/%.o,$(wildcard csrc/cuda/*.cu)) \
  $(patsubst csrc/cpu/%.cpp,$(EMULATED)/cpu/%.o,$(wildcard csrc/cpu/*.cpp))
EMULATED_TESTS = $(patsubst tests/csrc/test_%.cpp,$(EMULATED)/test_%,$(wildcard tests/csrc/test_*.cpp))

# Programs also link the emulator, and gather the kernels' shared variables in one place.
EMULATED_LINK = $(EMULATED)/emulator.a -Wl,-T,tests/csrc/emulation/shared_memory.ld

EMULATOR_OBJECTS = $(patsubst tests/csrc/emulation/emulator/%.cpp,$(EMULATED)/emulator/%.o, \
  $(wildcard tests/csrc/emulation/emulator/*.cpp))

$(EMULATED)/cuda/%.o: csrc/cuda/%.cu
	@mkdir -p $(@D)
	$(CXX) $(EMULATED_FLAGS) -x c++ -c $< -o $@

$(EMULATED)/cpu/%.o: csrc/cpu/%.cpp
	@mkdir -p $(@D)
	$(CXX) $(EMULATED_FLAGS) -c $< -o $@

$(EMULATED)/kernels.a: $(EMULATED_OBJECTS)
	rm -f $@ && ar rcs $@ $^

# The emulator itself works between any two steps of a kernel: optimized, and without UBSan.
$(EMULATED)/emulator/%.o: tests/csrc/emulation/emulator/%.cpp
	@mkdir -p $(@D)
	$(CXX) $(EMULATED_FLAGS) -O2 -fno-sanitize=undefined -c $< -o $@

$(EMULATED)/emulator.a: $(EMULATOR_OBJECTS)
	rm -f $@ && ar rcs $@ $^

$(EMULATED)/test_%: tests/csrc/test_%.cpp $(EMULATED)/kernels.a $(EMULATED)/emulator.a
	$(CXX) $(EMULATED_FLAGS) $< $(EMULATED)/kernels.a $(EMULATED_LINK) -o $@

# Kernels with known faults, for tests/csrc/test_emulation_catches.py.
$(EMULATED)/faults: tests/csrc/faults.cu $(EMULATED)/emulator.a
	$(CXX) $(EMULATED_FLAGS) -x c++ $< -x none $(EMULATED_LINK) -o $@

# How many threads a second (docs/adr/0002-emulated-kernels.md).
$(EMULATED)/emulated_threads: benchmarks/emulated_threads.cpp $(EMULATED)/emulator.a
	$(CXX) $(EMULATED_FLAGS) $< $(EMULATED_LINK) -o $@

emulated: $(EMULATED_TESTS)

# Both schedules: threads of a block from the first to the last, and from the last to the first.
emulate: emulated
	@for program in $(EMULATED_TESTS); do \
	  $$program && EMULATION_REVERSED=1 $$program || exit 1; done

# ---- CPU kernels on real threads ------------------------------------------------------------------
# Every kernel of csrc/cpu, shared by threads in several ways (tests/csrc/threads): watched by
# ThreadSanitizer, by the other sanitizers, and as processors without variants of their own get it.

THREADED = build/threads
THREADED_FLAGS = -std=c++20 -g1 -Wall -ffp-contract=off -pthread -Itests/csrc -Icsrc -MMD -MP
THREADED_CASES = $(filter-out %/faults.cpp,$(wildcard tests/csrc/threads/*.cpp))
THREADED_KERNELS = $(patsubst csrc/cpu/%.cpp,cpu/%.o,$(wildcard csrc/cpu/*.cpp))

CROSS_CXX ?= aarch64-linux-gnu-g++
compile_tsan = $(CXX) -O1 -fsanitize=thread
compile_asan = $(CXX) -O1 -fno-omit-frame-pointer -fsanitize=address,undefined \
  -fno-sanitize-recover=all
compile_portable = $(CXX) -O1 -DELITE_PORTABLE
compile_aarch64 = $(CROSS_CXX) -O1 -static

define threaded_build
$(THREADED)/$(1)/cpu/%.o: csrc/cpu/%.cpp
	@mkdir -p $$(@D)
	$$(compile_$(1)) $$(THREADED_FLAGS) -c $$< -o $$@
$(THREADED)/$(1)/%.o: tests/csrc/threads/%.cpp
	@mkdir -p $$(@D)
	$$(compile_$(1)) $$(THREADED_FLAGS) -c $$< -o $$@
$(THREADED)/$(1)/kernels: $(THREADED_CASES:tests/csrc/threads/%.cpp=$(THREADED)/$(1)/%.o) \
  $(THREADED_KERNELS:%=$(THREADED)/$(1)/%)
	$$(compile_$(1)) $$(THREADED_FLAGS) $$^ -o $$@
# Kernels with known faults, for tests/csrc/test_threads_catch.py.
$(THREADED)/$(1)/faults: $(THREADED)/$(1)/faults.o $(THREADED)/$(1)/threads.o
	$$(compile_$(1)) $$(THREADED_FLAGS) $$^ -o $$@
endef
$(foreach build,tsan asan portable aarch64,$(eval $(call threaded_build,$(build))))

threads: $(THREADED)/tsan/kernels $(THREADED)/asan/kernels $(THREADED)/portable/kernels
	@for program in $^; do echo "$$program"; $$program || exit 1; done

# ---- CUDA sources through nvcc -------------------------------------------------------------------
# Needs no GPU, and no torch with CUDA: the kernels don't know torch, and the CUDA halves of the
# bindings are only type-checked.

NVCC ?= nvcc
NVCC_ARCHITECTURES ?= 80 90
NVCC_FLAGS = -std=c++20 -O3 -Icsrc --Werror all-warnings -Xcompiler -Wall \
  $(foreach a,$(NVCC_ARCHITECTURES),-gencode arch=compute_$(a),code=sm_$(a))
CUDA_INCLUDE = $(shell $(NVCC) -v -x cu -E /dev/null 2>&1 | sed -n 's/.*INCLUDES="-I\([^"]*\)".*/\1/p')
# Asked for at the first use, and once: importing torch takes seconds.
BINDING_INCLUDES = $(eval BINDING_INCLUDES := $$(shell $(BIN)/python -c "import pybind11, sysconfig; \
  from torch.utils.cpp_extension import include_paths; \
  paths = [*include_paths(), pybind11.get_include(), sysconfig.get_path('include')]; \
  print(' '.join('-isystem ' + p for p in paths))"))$(BINDING_INCLUDES)

build/nvcc/%.o: csrc/cuda/%.cu
	@mkdir -p $(@D)
	$(NVCC) $(NVCC_FLAGS) -Xptxas -v -MMD -c $< -o $@ 2> build/nvcc/$*.log || (cat build/nvcc/$*.log; exit 1)

# Warpgroup products exist on sm_90a alone; for the others its kernels are empty.
build/nvcc/sparse_conv_wgmma.o: NVCC_FLAGS += -DELITE_WITH_SM90A -gencode arch=compute_90a,code=sm_90a

build/nvcc/%.checked: csrc/bindings/%.cpp $(wildcard csrc/bindings/*.h csrc/cuda/*.h)
	@mkdir -p $(@D)
	$(CXX) -std=c++20 -fsyntax-only -Wall -DELITE_WITH_CUDA -Icsrc \
	  -isystem tests/csrc/torch_cuda_stub $(BINDING_INCLUDES) -isystem $(CUDA_INCLUDE) $<
	touch $@

NVCC_OBJECTS = $(patsubst csrc/cuda/%.cu,build/nvcc/%.o,$(wildcard csrc/cuda/*.cu))
nvcc: setup $(NVCC_OBJECTS) \
  $(patsubst csrc/bindings/%.cpp,build/nvcc/%.checked,$(wildcard csrc/bindings/*.cpp))
	$(PYTHON) benchmarks/resources.py --check

# What every kernel takes of a multiprocessor, into docs/resources.md.
resources: $(NVCC_OBJECTS)
	$(PYTHON) benchmarks/resources.py --write --check --nvcc $(NVCC)

clean:
	rm -rf build

-include $(wildcard $(EMULATED)/*/*.d $(EMULATED)/*.d $(THREADED)/*/*.d $(THREADED)/*/*/*.d build/nvcc/*.d)
