# CPU kernels on real threads, and for other processors.
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

# For Arm boxes: compiled by a cross compiler, run by an emulator of the processor.
QEMU ?= qemu-aarch64
aarch64: $(THREADED)/aarch64/kernels
	$(QEMU) $<

threads: $(THREADED)/tsan/kernels $(THREADED)/asan/kernels $(THREADED)/portable/kernels
	@for program in $^; do echo "$$program"; $$program || exit 1; done

-include $(wildcard $(THREADED)/*/*.d $(THREADED)/*/*/*.d)
