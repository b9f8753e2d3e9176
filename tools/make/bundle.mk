# For a GPU machine that is rented by the minute (docs/gpu.md).
# Everything but csrc/bindings/module.cpp is compiled here, against that machine's torch, and linked
# once with no symbol left undefined. There it is linked again, in seconds.

BUNDLE_TORCH ?= 2.11.0
BUNDLE_PYTHON ?= 3.12
BUNDLE_PLATFORM ?= manylinux_2_28_x86_64
BUNDLE_ARCHITECTURES ?= 9.0a
BUNDLE_LIMIT ?= 64

BUNDLE = build/bundle
TARGET = build/target
TARGET_TORCH = $(TARGET)/torch-$(BUNDLE_TORCH)-python-$(BUNDLE_PYTHON)
build_flags = TORCH_CUDA_ARCH_LIST="$(BUNDLE_ARCHITECTURES)" $(BIN)/python tools/build_flags.py

# Asked for at the first use, and once, as those of `make nvcc`.
TARGET_NVCC_FLAGS = $(eval TARGET_NVCC_FLAGS := $$(shell $(build_flags) nvcc))$(TARGET_NVCC_FLAGS)
TARGET_CXX_FLAGS = $(eval TARGET_CXX_FLAGS := $$(shell $(build_flags) cxx))$(TARGET_CXX_FLAGS)
TOOLKIT = $(eval TOOLKIT := $$(shell $(build_flags) toolkit))$(TOOLKIT)

# The folder of the headers of the GPU machine's Python, where they are at hand (pyenv's count): then
# module.cpp is compiled here as well.
find_headers = PYENV_VERSION=$(BUNDLE_PYTHON) python$(BUNDLE_PYTHON) -c \
  "import sysconfig; print(sysconfig.get_path('include') + '/Python.h')" 2> /dev/null
PYTHON_HEADERS = $(eval PYTHON_HEADERS := $$(dir $$(wildcard $$(shell $$(find_headers)))))$(PYTHON_HEADERS)

TARGET_HEADERS = $(TARGET_TORCH)/torch/include $(TARGET_TORCH)/torch/include/torch/csrc/api/include \
  $(TOOLKIT)/include $(PYTHON_HEADERS)
MODULE_OBJECT = $(TARGET)/bindings/module.cpp.o
TARGET_OBJECTS = $(filter-out $(MODULE_OBJECT), \
  $(patsubst csrc/%,$(TARGET)/%.o,$(wildcard csrc/bindings/*.cpp csrc/cpu/*.cpp csrc/cuda/*.cu)))

$(TARGET_TORCH)/.complete:
	$(BIN)/python tools/gpu/target_torch.py $(@D) --torch $(BUNDLE_TORCH) --python $(BUNDLE_PYTHON) \
	  --platform $(BUNDLE_PLATFORM)
	touch $@

# Newer than the objects only where the flags, or the torch, are others than at the last call.
$(TARGET)/flags: $(VENV)/.torch $(TARGET_TORCH)/.complete FORCE
	@mkdir -p $(@D)
	@($(build_flags) nvcc && $(build_flags) cxx && echo $(TARGET_HEADERS)) > $@.new
	@cmp -s $@.new $@ || cp $@.new $@
.PHONY: FORCE

$(TARGET)/cuda/%.cu.o: csrc/cuda/%.cu $(TARGET)/flags
	@mkdir -p $(@D) && echo $<
	@$(NVCC) $(TARGET_NVCC_FLAGS) -Xcompiler -fPIC -Icsrc -MMD -MP -MF $(@:o=d) -c $< -o $@

$(TARGET)/%.cpp.o: csrc/%.cpp $(TARGET)/flags
	@mkdir -p $(@D) && echo $<
	@$(CXX) $(TARGET_CXX_FLAGS) -Icsrc $(TARGET_HEADERS:%=-isystem %) -MMD -MP -c $< -o $@

# What would be missing when the extension is loaded there is missing here.
$(TARGET)/linked.so: $(TARGET_OBJECTS)
	@echo linking
	@$(CXX) -shared -Wl,--no-undefined -Wl,--allow-shlib-undefined $^ -o $@ \
	  -L$(TARGET_TORCH)/torch/lib $(shell $(build_flags) libraries) -L$(TOOLKIT)/lib64 -lcudart -fopenmp

$(BUNDLE)/manifest.json: $(TARGET)/linked.so $(SOURCES) tools/gpu/pack.py
	@$(if $(PYTHON_HEADERS),$(MAKE) --no-print-directory $(MODULE_OBJECT))
	@echo packing
	@$(PYTHON) tools/gpu/pack.py --torch $(TARGET_TORCH)/torch --architectures "$(BUNDLE_ARCHITECTURES)" \
	  --python "$(if $(PYTHON_HEADERS),$(BUNDLE_PYTHON))" $(TARGET) \
	  $(TARGET_OBJECTS) $(if $(PYTHON_HEADERS),$(MODULE_OBJECT))

# The scans that tests marked gpu and benchmarks read.
BUNDLE_SCANS = semantickitti kitti/sequences/90
SCANS_AT_HAND = $(wildcard $(BUNDLE_SCANS:%=$(ELITE_DATA)/%))
$(BUNDLE)/scans.tar.xz: $(SCANS_AT_HAND)
	@mkdir -p $(@D)
	cd $(ELITE_DATA) && $(PYTHON) -m tarfile -c $(abspath $@) $(SCANS_AT_HAND:$(ELITE_DATA)/%=%)

# What the library imports beside what comes with torch, numpy and the tools of tests: the rest has to
# be there. And other libraries, to be compared with: spconv needs cumm below 0.8.
BUNDLE_WHEELS ?= segment-anything
BUNDLE_PEERS ?= $(BUNDLE_WHEELS) spconv-cu126==2.3.8 cumm-cu126==0.7.11 pccm==0.4.16 ccimport==0.4.4 \
  fire==0.7.1 termcolor lark portalocker spconv-triton==1.0.0 ocnn==2.3.3
fetch_wheels = $(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --implementation cp \
  --python-version $(BUNDLE_PYTHON) --platform $(BUNDLE_PLATFORM) --platform manylinux2014_x86_64

# Named after the Python and the wheels: others are fetched anew.
named = $(BUNDLE_PYTHON)-$(shell echo '$(1)' | cksum | cut -d' ' -f1)
WHEELS_AT_HAND = $(BUNDLE)/wheels/.$(call named,$(BUNDLE_WHEELS))
PEERS_AT_HAND = build/bundle-peers/.$(call named,$(BUNDLE_PEERS))
$(WHEELS_AT_HAND):
	rm -rf $(@D)
	$(fetch_wheels) -d $(@D) $(BUNDLE_WHEELS) && touch $@

$(PEERS_AT_HAND):
	rm -rf $(@D)
	$(fetch_wheels) -d $(@D) $(BUNDLE_PEERS)
	$(PYTHON) benchmarks/unpack_wheels.py --shrink $(@D) && touch $@

gpu-bundle: $(BUNDLE)/manifest.json $(WHEELS_AT_HAND) $(PEERS_AT_HAND) \
  $(if $(SCANS_AT_HAND),$(BUNDLE)/scans.tar.xz)
	@PYTHONPATH=benchmarks $(BIN)/python -c "import record; print(record.commit())" > $(BUNDLE)/commit
	@$(PYTHON) tools/gpu/sizes.py --limit $(BUNDLE_LIMIT)

-include $(wildcard $(TARGET)/*/*.d)
