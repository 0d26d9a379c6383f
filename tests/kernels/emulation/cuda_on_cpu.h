// Runs CUDA source on a CPU, started as CuPy starts it on a GPU: with a grid, a block and addresses of arguments.
// The threads of a block are fibers that switch at barriers; blocks run one after another. What that shows: wrong
// arithmetic, wrong arguments, missing barriers, and with the sanitizers accesses outside a buffer. What it cannot
// show: speed, races between blocks, and anything about a real GPU's memory order.
#pragma once
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)

namespace emulation {

struct Index { unsigned x, y, z; };
struct Fiber { ucontext_t context; std::vector<char> stack; Index id; bool done; int barriers; };
enum Order { ASCENDING, DESCENDING, SHUFFLED };
using Kernel = std::function<void(void**)>;

inline Index thread, block, threads, blocks;
inline ucontext_t scheduler;
inline std::vector<Fiber> fibers;
inline Fiber* running;
inline std::function<void()> body;
inline int order = ASCENDING;
inline std::string failure;

inline std::map<std::string, Kernel>& registry() {
  static std::map<std::string, Kernel> kernels;
  return kernels;
}

// Reads each argument as the kernel's signature types it, as the driver does.
template <class... A, size_t... I>
Kernel unpacked(void (*kernel)(A...), std::index_sequence<I...>) {
  return [kernel](void** at) { kernel(*(A*)at[I]...); };
}
template <class... A> bool bind(const char* name, void (*kernel)(A...)) {
  registry()[name] = unpacked(kernel, std::index_sequence_for<A...>{});
  return true;
}

// Shared memory holds what the last block left. Here it holds NaN: a read that no barrier orders shows.
struct Span { void* at; size_t bytes; };
inline std::vector<Span> shared_memory;
template <class T, size_t N> bool shared(T (&array)[N]) {
  shared_memory.push_back({array, sizeof array});
  memset(array, 0xff, sizeof array);
  return true;
}

inline void barrier() {
  running->barriers++;
  swapcontext(&running->context, &scheduler);
}
inline void entry() {
  body();
  running->done = true;
}

bool run_block(std::vector<unsigned>& turns, std::mt19937& random);
int launch(const Kernel& kernel, Index grid, Index shape, void** arguments);

// IEEE 754 binary16, round to nearest even, as cvt.rn.f16.f32 and cvt.f32.f16.
unsigned short float_to_half(float value);
float half_to_float(unsigned short bits);

}  // namespace emulation

#define threadIdx emulation::thread
#define blockIdx emulation::block
#define blockDim emulation::threads
#define gridDim emulation::blocks

using emulation::float_to_half;
using emulation::half_to_float;
using std::max;
using std::min;

inline void __syncthreads() { emulation::barrier(); }
inline float atomicAdd(float* at, float value) {
  float before = *at;
  *at = before + value;
  return before;
}
inline float __fdividef(float a, float b) { return a / b; }  // within two units in the last place
// The GPU's conversions saturate, and turn NaN into 0; C++ leaves both undefined.
inline int saturated(double value) {
  if (value != value) return 0;
  return value >= 2147483647.0 ? INT32_MAX : value <= -2147483648.0 ? INT32_MIN : (int)value;
}
inline int __float2int_rd(float value) { return saturated(std::floor((double)value)); }
inline int __float2int_rn(float value) { return saturated(std::nearbyint((double)value)); }
inline int __float2int_ru(float value) { return saturated(std::ceil((double)value)); }
