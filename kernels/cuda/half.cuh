// Loads and stores of float and half precision, as float; packs for 16-byte accesses.
// Half precision is a bit pattern here: the NVRTC wheel ships no cuda_fp16.h, and a conversion is all we need.
// Host builds (tests/kernels/emulation) define half_to_float and float_to_half before this text.
#pragma once

struct half_t { unsigned short bits; };

#ifdef __CUDACC__
__device__ __forceinline__ float half_to_float(unsigned short bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
__device__ __forceinline__ unsigned short float_to_half(float value) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
#endif

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(half_t value) { return half_to_float(value.bits); }

template <class T> __device__ __forceinline__ T from_float(float value);
template <> __device__ __forceinline__ float from_float<float>(float value) { return value; }
template <> __device__ __forceinline__ half_t from_float<half_t>(float value) { return {float_to_half(value)}; }

// K neighbours that one load or store moves: 16 bytes is the widest a thread can ask for.
template <class T, int K> struct alignas(sizeof(T) * K) Pack { T lane[K]; };
