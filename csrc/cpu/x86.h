// Where instruction sets of x86 come in. ELITE_X86 is 1 where there are any: sources choose among
// their variants at run time then, and have the portable one alone elsewhere. Define ELITE_PORTABLE
// to compile what other processors get.
#pragma once

#if defined(__x86_64__) && !defined(ELITE_PORTABLE)
#define ELITE_X86 1
#include <immintrin.h>
#else
#define ELITE_X86 0
#endif
