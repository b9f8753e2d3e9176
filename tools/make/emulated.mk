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

-include $(wildcard $(EMULATED)/*/*.d $(EMULATED)/*.d)
