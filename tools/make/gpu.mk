# On a GPU machine (docs/gpu.md).
# Nothing is installed or downloaded: the Python, torch, pytest and nvcc of the machine are used, and
# other libraries come as wheels in the folder PEERS.

GPU_PYTHON ?= python3
GPU_JOBS ?= 12
GPU_RESULTS ?= gpu
GPU_BENCH_OPTIONS ?=
PEERS ?= peers
SANITIZER_CHECKS = gpu-memcheck gpu-racecheck gpu-synccheck
ON_GPU = PYTHONPATH=$(CURDIR)/build/peers:$(CURDIR):$(CURDIR)/benchmarks $(GPU_PYTHON)

build/gpu/.built: $(SOURCES)
	@mkdir -p $(@D)
	ELITE_CUDA=1 $(GPU_PYTHON) setup.py build_ext --inplace > build/gpu/build.log 2>&1 \
	  || (tail -n 60 build/gpu/build.log; exit 1)
	touch $@

build/peers/.unpacked: $(wildcard $(PEERS)/*)
	$(GPU_PYTHON) benchmarks/unpack_wheels.py $(PEERS) build/peers
	touch $@

gpu-check: gpu-smoke gpu-test $(SANITIZER_CHECKS)

# Each op against the CPU, in a process of its own: a fault in one hides no other.
gpu-smoke: build/gpu/.built
	$(ON_GPU) tools/gpu/smoke.py --jobs $(GPU_JOBS) --json build/gpu/smoke.json

gpu-test: build/gpu/.built build/peers/.unpacked
	$(ON_GPU) tools/gpu/run_tests.py --jobs $(GPU_JOBS)

# What the emulation can't show, on the small scene alone. There is no initcheck: the emulation fills
# memory with garbage, too.
$(SANITIZER_CHECKS): gpu-%: build/gpu/.built
	$(ON_GPU) tools/gpu/smoke.py --jobs $(GPU_JOBS) --json build/gpu/$*.json --scan none --under $* \
	  --timeout 300

# The captured student on a scan, kernel by kernel.
gpu-profile: build/gpu/.built
	$(ON_GPU) tools/gpu/profile_student.py --json build/gpu/student.json

gpu-bench: build/gpu/.built build/peers/.unpacked
	$(ON_GPU) benchmarks/record.py --name $(GPU_RESULTS) -k cuda $(GPU_BENCH_OPTIONS)
	$(GPU_PYTHON) benchmarks/report.py

# Everything that docs/performance.md says of a CPU: on all cores, then on one, where spconv is right;
# and the layers of other networks.
OF_OPS_ALONE = lovasz or distillation or patch_to_point
LAYERS = limits strided_conv sparse_depthwise_conv hard_voxelize segment_reduce backbones
cpu-bench: setup
	$(BIN)/python benchmarks/record.py --name cpu -k "cpu and not ($(OF_OPS_ALONE))"
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/record.py --name cpu-one-thread \
	  -k "cpu and not (threads or $(OF_OPS_ALONE))"
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/record.py --name layers-one-thread -k cpu \
	  $(LAYERS:%=benchmarks/bench_%.py)
	$(BIN)/python benchmarks/report.py

performance: setup
	$(BIN)/python benchmarks/report.py
