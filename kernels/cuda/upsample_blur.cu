// Reference and contract: kernels/upsample_blur.py. Shape letters as there.
#include "half.cuh"

namespace {

const int TILE_W = 32, TILE_H = 8;  // input pixels per block; kernels/upsample_blur.py launches these

// One thread: one input pixel, the four output pixels above it. Zero insertion and the 4x4 kernel leave each
// output two non-zero taps an axis: 1/4 of the neighbour on its side, 3/4 of its own pixel.
template <class T>
__device__ __forceinline__ void upsample(const T* __restrict__ image, const T* add, T* out, int h, int w) {
  __shared__ float tile[TILE_H + 2][TILE_W + 2];
  int left = blockIdx.x * TILE_W, top = blockIdx.y * TILE_H;
  size_t plane = blockIdx.z;
  image += plane * h * w;
  for (int i = threadIdx.y * TILE_W + threadIdx.x; i < (TILE_H + 2) * (TILE_W + 2); i += TILE_W * TILE_H) {
    int x = left + i % (TILE_W + 2) - 1, y = top + i / (TILE_W + 2) - 1;
    bool inside = x >= 0 && x < w && y >= 0 && y < h;
    tile[i / (TILE_W + 2)][i % (TILE_W + 2)] = inside ? to_float(image[(size_t)y * w + x]) : 0.f;
  }
  __syncthreads();
  int x = left + threadIdx.x, y = top + threadIdx.y;
  if (x >= w || y >= h) return;
#pragma unroll
  for (int dy = 0; dy < 2; dy++) {
    const float* near = &tile[threadIdx.y + 1][threadIdx.x];
    const float* far = &tile[threadIdx.y + 2 * dy][threadIdx.x];
    float column[3];
#pragma unroll
    for (int i = 0; i < 3; i++) column[i] = .75f * near[i] + .25f * far[i];
    size_t at = (plane * 2 * h + 2 * y + dy) * w + x;  // in pairs of output pixels
    Pack<T, 2> extra = {}, pair;
    if (add) extra = ((const Pack<T, 2>*)add)[at];
#pragma unroll
    for (int dx = 0; dx < 2; dx++) {
      float value = .75f * column[1] + .25f * column[2 * dx];
      pair.lane[dx] = from_float<T>(add ? value + to_float(extra.lane[dx]) : value);
    }
    ((Pack<T, 2>*)out)[at] = pair;
  }
}

}  // namespace

extern "C" __global__ void upsample_blur_f32(const float* image, const float* add, float* out, int h, int w) {
  upsample<float>(image, add, out, h, w);
}
extern "C" __global__ void upsample_blur_f16(const half_t* image, const half_t* add, half_t* out, int h, int w) {
  upsample<half_t>(image, add, out, h, w);
}
