// Pixel formats of camera and sink, and the two ways to write a picture in them. kernels/_pixels.py is the twin.
#pragma once

// The numbers in kernels/_pixels.py.
const int RGB = 0, BGR = 1, NV12 = 2, I420 = 3;

__device__ __forceinline__ unsigned char to_byte(float value) {
  return (unsigned char)__float2int_rn(fminf(fmaxf(value, 0.f), 255.f));
}

// Pictures in the sink's pixels: P has a size, H and W, and shade(x, y, rgb), red, green and blue in 0..255.

// One thread: one pixel. shade is asked for the pixel that is written and no other, so it may read what `out` held.
template <class P>
__device__ __forceinline__ void packed(const P& p, unsigned char* out, int pixels) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= p.W || y >= p.H) return;
  float rgb[3];
  p.shade(x, y, rgb);
  out += (((size_t)blockIdx.z * p.H + y) * p.W + x) * 3;
  out[0] = to_byte(pixels == RGB ? rgb[0] : rgb[2]);
  out[1] = to_byte(rgb[1]);
  out[2] = to_byte(pixels == RGB ? rgb[2] : rgb[0]);
}

// One thread: two by two pixels, which share one pair of chroma values.
template <class P>
__device__ __forceinline__ void planar(const P& p, unsigned char* out, int pixels, float kr, float kb) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= p.W / 2 || y >= p.H / 2) return;
  out += (size_t)blockIdx.z * (p.H / 2 * 3) * p.W;
  float u = 0.f, v = 0.f;
#pragma unroll
  for (int k = 0; k < 4; k++) {
    int px = 2 * x + (k & 1), py = 2 * y + (k >> 1);
    float rgb[3];
    p.shade(px, py, rgb);
    float luma = kr * rgb[0] + (1.f - kr - kb) * rgb[1] + kb * rgb[2];
    out[(size_t)py * p.W + px] = to_byte(16.f + (219.f / 255.f) * luma);
    u += rgb[2] - luma;
    v += rgb[0] - luma;
  }
  unsigned char byte_u = to_byte(128.f + (224.f / 255.f) * .25f * u / (2.f * (1.f - kb)));
  unsigned char byte_v = to_byte(128.f + (224.f / 255.f) * .25f * v / (2.f * (1.f - kr)));
  unsigned char* chroma = out + (size_t)p.H * p.W;
  size_t at = (size_t)y * (p.W / 2) + x;
  if (pixels == NV12) {
    chroma[2 * at] = byte_u;
    chroma[2 * at + 1] = byte_v;
  } else {
    chroma[at] = byte_u;
    chroma[(size_t)(p.H / 2) * (p.W / 2) + at] = byte_v;
  }
}
