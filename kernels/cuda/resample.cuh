// Affine resampling with antialiasing; the twin in PyTorch is kernels/_resample.py.
#pragma once
#include "half.cuh"

// How many samples along one output axis keep them at most one source pixel apart. (step_x, step_y) is how far
// one output pixel moves in the source. The small slack keeps an exact integer on its own side of rounding.
__device__ __forceinline__ int tap_count(float step_x, float step_y, int most) {
  int count = __float2int_ru(sqrtf(step_x * step_x + step_y * step_y) - 1e-3f);
  return count < 1 ? 1 : (count > most ? most : count);
}

// The four neighbours of a position inside [0, width - 1] x [0, height - 1], and how far to go between them.
struct Corner { int x0, y0, x1, y1; float wx, wy; };

__device__ __forceinline__ Corner corner_at(float x, float y, int width, int height) {
  Corner at;
  x = fminf(fmaxf(x, 0.f), (float)(width - 1));
  y = fminf(fmaxf(y, 0.f), (float)(height - 1));
  at.x0 = __float2int_rd(x);
  at.y0 = __float2int_rd(y);
  at.x1 = at.x0 + 1 < width ? at.x0 + 1 : at.x0;
  at.y1 = at.y0 + 1 < height ? at.y0 + 1 : at.y0;
  at.wx = x - (float)at.x0;
  at.wy = y - (float)at.y0;
  return at;
}

__device__ __forceinline__ float to_float(unsigned char value) { return (float)value; }

// Bilinear sample; neighbours lie `pitch` values apart down and `step` values apart to the right.
template <class T>
__device__ __forceinline__ float bilinear(const T* plane, Corner at, int pitch, int step) {
  const T *top = plane + (size_t)at.y0 * pitch, *bottom = plane + (size_t)at.y1 * pitch;
  float north = to_float(top[at.x0 * step]) * (1.f - at.wx) + to_float(top[at.x1 * step]) * at.wx;
  float south = to_float(bottom[at.x0 * step]) * (1.f - at.wx) + to_float(bottom[at.x1 * step]) * at.wx;
  return north * (1.f - at.wy) + south * at.wy;
}
