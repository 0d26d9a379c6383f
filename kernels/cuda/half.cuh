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
__device__ __forceinline__ float low_to_float(unsigned word) {
  float value;
  asm("{ .reg .b16 low, high; mov.b32 {low, high}, %1; cvt.f32.f16 %0, low; }" : "=f"(value) : "r"(word));
  return value;
}
__device__ __forceinline__ float high_to_float(unsigned word) {
  float value;
  asm("{ .reg .b16 low, high; mov.b32 {low, high}, %1; cvt.f32.f16 %0, high; }" : "=f"(value) : "r"(word));
  return value;
}
#else
inline float low_to_float(unsigned word) { return half_to_float((unsigned short)(word & 0xffffu)); }
inline float high_to_float(unsigned word) { return half_to_float((unsigned short)(word >> 16)); }
#endif

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(half_t value) { return half_to_float(value.bits); }

template <class T> __device__ __forceinline__ T from_float(float value);
template <> __device__ __forceinline__ float from_float<float>(float value) { return value; }
template <> __device__ __forceinline__ half_t from_float<half_t>(float value) { return {float_to_half(value)}; }

// K neighbours that one load or store moves: 16 bytes is the widest a thread can ask for.
template <class T, int K> struct alignas(sizeof(T) * K) Pack { T lane[K]; };

// A pack to read from. Halves stay in whole words, and the conversion to float takes them apart: split in two
// registers when they are loaded, they cost one more instruction each.
template <class T, int K> struct alignas(sizeof(T) * K) Source {
  T lane[K];
  __device__ __forceinline__ float at(int i) const { return to_float(lane[i]); }
};
template <> struct alignas(16) Source<half_t, 8> {
  unsigned word[4];
  __device__ __forceinline__ float at(int i) const {
    return i % 2 ? high_to_float(word[i / 2]) : low_to_float(word[i / 2]);
  }
};
