# On a GPU machine.
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
