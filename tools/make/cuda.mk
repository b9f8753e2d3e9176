# CUDA without a GPU: every source through nvcc, and the whole build as users run it.

NVCC ?= nvcc
NVCC_ARCHITECTURES ?= 8.0;8.7;9.0a;9.0+PTX

# The flags are those of the build (tools/build_flags.py), and warnings are errors. Asked for at the
# first use, and once: importing torch takes seconds.
NVCC_FLAGS = $(eval NVCC_FLAGS := $$(shell TORCH_CUDA_ARCH_LIST="$(NVCC_ARCHITECTURES)" \
  $(BIN)/python tools/build_flags.py nvcc))$(NVCC_FLAGS)

build/nvcc/%.o: csrc/cuda/%.cu tools/build_flags.py
	@mkdir -p $(@D)
	$(NVCC) $(NVCC_FLAGS) -Icsrc --Werror all-warnings -Xcompiler -Wall -Xptxas -v -MMD -c $< -o $@ \
	  2> build/nvcc/$*.log || (cat build/nvcc/$*.log; exit 1)

NVCC_OBJECTS = $(patsubst csrc/cuda/%.cu,build/nvcc/%.o,$(wildcard csrc/cuda/*.cu))
nvcc: setup
	$(MAKE) $(NVCC_OBJECTS)
	$(PYTHON) benchmarks/resources.py --check

# What every kernel takes of a multiprocessor, into docs/resources.md.
resources: setup
	$(MAKE) $(NVCC_OBJECTS)
	$(PYTHON) benchmarks/resources.py --write --check --nvcc $(NVCC)

# `pip install -e .` with a torch that has CUDA, in a copy of the tree and an environment of its own:
# the tree's own extension stays as it is. Then what can be asked of such a build without a GPU.
CUDA_TORCH ?= torch==2.14.1 torchvision==0.29.1
CUDA_BUILD_ARCHITECTURES ?= 9.0a
CUDA_BIN = $(CURDIR)/build/cuda/venv/bin
CUDA_TREE = build/cuda/tree

# Named after the torch: another one makes another environment.
CUDA_ENVIRONMENT = build/cuda/.$(subst =,-,$(firstword $(CUDA_TORCH)))
$(CUDA_ENVIRONMENT):
	@mkdir -p $(@D)
	$(PYTHON) -m venv --clear build/cuda/venv
	$(CUDA_BIN)/python -m pip install --quiet --no-compile --upgrade pip
	$(CUDA_BIN)/python -m pip install --quiet --no-compile $(CUDA_TORCH)
	touch $@

# What is not compiled is brought up to date in every call; what is no longer here goes, but for what
# was built there.
copy_tree = mkdir -p $(CUDA_TREE) \
  && find $(CUDA_TREE) -type f -not -name '*.so' -not -name _build.json \
    -not -path '*.egg-info/*' -delete \
  && git ls-files -z --cached --others --exclude-standard \
  | tar --null --ignore-failed-read -T - -cf - | tar -xf - -C $(CUDA_TREE)

build/cuda/.built: $(CUDA_ENVIRONMENT) $(SOURCES)
	$(copy_tree)
	cd $(CUDA_TREE) && ELITE_CUDA=1 TORCH_CUDA_ARCH_LIST="$(CUDA_BUILD_ARCHITECTURES)" \
	  $(CUDA_BIN)/python -m pip install --no-compile --verbose -e ".[test]" \
	  > ../build.log 2>&1 || (tail -n 60 ../build.log; exit 1)
	! grep -E '(csrc/|nvcc|ptxas).*[Ww]arning' build/cuda/build.log
	touch $@

ELITE_DATA ?= $(abspath ../shared/data)
cuda-build: build/cuda/.built
	$(copy_tree)
	cd $(CUDA_TREE) && ELITE_DATA=$(ELITE_DATA) $(CUDA_BIN)/python -m pytest tests/test_build.py tests/ops tests/nn

-include $(wildcard build/nvcc/*.d)
