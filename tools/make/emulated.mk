# CUDA kernels on the host.
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

# ---- the emulated device: torch ops on emulated CUDA kernels ----------------------------------------
# An extension whose CUDA halves, launchers and kernels run on host memory, registered in place of
# the CPU's (tests/csrc/emulated_device), in a folder beside links to the Python sources. Tests that
# need a GPU run on it (docs/kernels.md).

# Asked for at the first use, and once: importing torch takes seconds.
BINDING_INCLUDES = $(eval BINDING_INCLUDES := $$(shell $(BIN)/python -c "import pybind11, sysconfig; \
  from torch.utils.cpp_extension import include_paths; \
  paths = [*include_paths(), pybind11.get_include(), sysconfig.get_path('include')]; \
  print(' '.join('-isystem ' + p for p in paths))"))$(BINDING_INCLUDES)
TORCH_LIBRARIES = $(eval TORCH_LIBRARIES := $$(shell $(BIN)/python -c "import importlib.util as i; \
  print(i.find_spec('torch').submodule_search_locations[0] + '/lib')"))$(TORCH_LIBRARIES)

DEVICE_FLAGS = -std=c++20 -O1 -g1 -fPIC -fopenmp -ffp-contract=off -fdata-sections \
  -fvisibility=hidden -fno-omit-frame-pointer -Wall -Wno-unknown-pragmas -DTORCH_EXTENSION_NAME=_C \
  -DELITE_WITH_CUDA -DELITE_EMULATED_DEVICE -DELITE_CUDA_ARCHITECTURES='"emulated"' \
  -Itests/csrc/emulated_device -Itests/csrc/emulation -Itests/csrc -Icsrc -MMD -MP
DEVICE_SANITIZE_asan = -fsanitize=address
DEVICE_SOURCES = $(filter-out csrc/bindings/empty.cpp, \
  $(wildcard csrc/bindings/*.cpp csrc/cpu/*.cpp csrc/cuda/*.cu) \
  $(wildcard tests/csrc/emulation/emulator/*.cpp tests/csrc/emulated_device/*.cpp))

# $(1): plain or asan.
define emulated_device
build/emulated_device/$(1)/objects/%.o: % $(VENV)/.torch
	@mkdir -p $$(@D)
	$$(CXX) $$(DEVICE_FLAGS) $$(DEVICE_SANITIZE_$(1)) $$(BINDING_INCLUDES) -x c++ -c $$< -o $$@
build/emulated_device/$(1)/objects/tests/csrc/emulation/%.o: tests/csrc/emulation/%
	@mkdir -p $$(@D)
	$$(CXX) $$(DEVICE_FLAGS) -O2 $$(DEVICE_SANITIZE_$(1)) -c $$< -o $$@
build/emulated_device/$(1)/_C.so: $$(DEVICE_SOURCES:%=build/emulated_device/$(1)/objects/%.o)
	$$(CXX) -shared $$^ $$(DEVICE_SANITIZE_$(1)) -Wl,-T,tests/csrc/emulation/shared_memory.ld \
	  -L$$(TORCH_LIBRARIES) -ltorch -ltorch_cpu -lc10 -ltorch_python -o $$@
build/emulated_device/$(1)/.built: build/emulated_device/$(1)/_C.so $$(wildcard elite_ops/*.py)
	rm -rf $$(@D)/elite_ops && mkdir $$(@D)/elite_ops
	ln -s $$(filter-out %.so %.pyi %__pycache__,$$(wildcard $$(CURDIR)/elite_ops/*)) $$(@D)/elite_ops
	ln -s ../_C.so $$(@D)/elite_ops/_C$$(shell $$(BIN)/python -c "import sysconfig; \
	  print(sysconfig.get_config_var('EXT_SUFFIX'))")
	touch $$@
endef
$(foreach build,plain asan,$(eval $(call emulated_device,$(build))))

# The tests whose ops run kernels. torch.compile sees no kernel, and its tests run elsewhere.
DEVICE_TESTS ?= tests/csrc/test_emulated_device.py tests/ops tests/nn tests/elite/test_captured.py \
  tests/elite/test_student.py
DEVICE_OPTIONS ?= -n $(shell nproc) -m "not slow" -k "not compile" \
  --deselect tests/elite/test_captured.py::test_a_real_scan
# $(1): plain or asan.
on_device = PYTHONPATH=$(CURDIR)/build/emulated_device/$(1) $(BIN)/python -m pytest \
  -o pythonpath="build/emulated_device/$(1) . benchmarks tools"

# Once as it is, then the kernels' own tests in the other order of blocks, warps and lanes.
test-emulated: setup
	$(MAKE) build/emulated_device/plain/.built
	$(call on_device,plain) $(DEVICE_TESTS) $(DEVICE_OPTIONS)
	EMULATION_REVERSED=1 $(call on_device,plain) tests/ops -n $(shell nproc) -m gpu \
	  -k "equals_reference and not real_scan"

# The sanitizer looks for what throws C++ exceptions as it starts: Python itself brings none.
ASAN_PRELOADS = $(foreach name,libasan libstdc++,$(shell $(CXX) -print-file-name=$(name).so))
test-emulated-asan: setup
	$(MAKE) build/emulated_device/asan/.built
	LD_PRELOAD="$(ASAN_PRELOADS)" ASAN_OPTIONS=detect_leaks=0 \
	  $(call on_device,asan) tests/ops tests/nn -n $(shell nproc) -m gpu -k "not real_scan"

# The student on real scans, captured and eager, on one of them whole: minutes.
test-emulated-scan: setup
	$(MAKE) build/emulated_device/plain/.built
	$(call on_device,plain) tests/elite/test_captured.py -k real_scan

-include $(wildcard $(EMULATED)/*/*.d $(EMULATED)/*.d)
-include $(shell find build/emulated_device -name '*.d' 2>/dev/null)
