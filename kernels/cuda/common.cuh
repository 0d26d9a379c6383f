// What every kernel starts with. kernels/_launch.py puts this text before the op's own source.
// Half precision is a bit pattern here: the NVRTC wheel ships no cuda_fp16.h, and a conversion is all we need.
// Host builds (tests/kernels/emulation) define half_to_float and float_to_half before this text.
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

// Affine resampling with antialiasing; the twin in PyTorch is kernels/_resample.py.

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

// How pixels lie in memory; kernels/_pixels.py numbers them.
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
