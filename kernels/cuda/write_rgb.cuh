// Writes a picture as RGB bytes. The reference rounds likewise: to the nearest, halves to even.
#pragma once

__device__ __forceinline__ unsigned char to_byte(float value) {
  return (unsigned char)__float2int_rn(fminf(fmaxf(value, 0.f), 255.f));
}

// One thread writes one pixel. P has a size, H and W, and shade(x, y, rgb), which computes red, green and blue in
// 0..255. shade is called for the pixel that is written and no other, so it may read what `out` held before.
template <class P> __device__ __forceinline__ void write_rgb(const P& p, unsigned char* out) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= p.W || y >= p.H) return;
  float rgb[3];
  p.shade(x, y, rgb);
  out += (((size_t)blockIdx.z * p.H + y) * p.W + x) * 3;
#pragma unroll
  for (int c = 0; c < 3; c++) out[c] = to_byte(rgb[c]);
}
