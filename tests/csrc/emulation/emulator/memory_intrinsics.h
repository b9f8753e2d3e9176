// Loads and stores with a cache hint. The hint changes no value.
#pragma once

#define EMULATION_LOAD(name) \
  template <typename T>      \
  T name(const T* address) { \
    return *address;         \
  }
#define EMULATION_STORE(name)            \
  template <typename T>                  \
  void name(T* address, const T value) { \
    *address = value;                    \
  }

EMULATION_LOAD(__ldg)
EMULATION_LOAD(__ldca)
EMULATION_LOAD(__ldcg)
EMULATION_LOAD(__ldcs)
EMULATION_LOAD(__ldlu)
EMULATION_LOAD(__ldcv)
EMULATION_STORE(__stwb)
EMULATION_STORE(__stcg)
EMULATION_STORE(__stcs)
EMULATION_STORE(__stwt)

#undef EMULATION_LOAD
#undef EMULATION_STORE
