// Reference and contract: kernels/crop_normalize.py. Shape letters as there.
#include "half.cuh"
#include "resample.cuh"

namespace {

__device__ __forceinline__ float normalized(float value, float scale, float shift) {
  return fminf(fmaxf(value, 0.f), 255.f) * scale + shift;
}

// One thread: one crop pixel.
template <class T>
__device__ __forceinline__ void crop(const unsigned char* __restrict__ frame, const float* __restrict__ matrix,
                                     T* __restrict__ out, int H, int W, int h, int w, int most_taps, float scale,
                                     float shift) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= w || y >= h) return;
  size_t n = blockIdx.z;
  frame += n * H * W * 3;
  const float* m = matrix + n * 6;
  // The mean over the pixel's footprint in the frame, so that shrinking does not alias.
  int nx = tap_count(m[0], m[3], most_taps), ny = tap_count(m[1], m[4], most_taps);
  float sum[3] = {0.f, 0.f, 0.f};
  for (int j = 0; j < ny; j++)
    for (int i = 0; i < nx; i++) {
      float cx = (float)x + ((float)i + .5f) / (float)nx - .5f, cy = (float)y + ((float)j + .5f) / (float)ny - .5f;
      Corner at = corner_at(m[0] * cx + m[1] * cy + m[2], m[3] * cx + m[4] * cy + m[5], W, H);
#pragma unroll
      for (int c = 0; c < 3; c++) sum[c] += bilinear(frame + c, at, 3 * W, 3);
    }
  float share = 1.f / (float)(nx * ny);
  size_t plane = (size_t)h * w;
  out += n * 3 * plane + (size_t)y * w + x;
#pragma unroll
  for (int c = 0; c < 3; c++) out[c * plane] = from_float<T>(normalized(sum[c] * share, scale, shift));
}

}  // namespace

extern "C" __global__ void crop_normalize_f32(const unsigned char* frame, const float* image_from_crop, float* out,
                                              int H, int W, int h, int w, int most_taps, float scale, float shift) {
  crop<float>(frame, image_from_crop, out, H, W, h, w, most_taps, scale, shift);
}
extern "C" __global__ void crop_normalize_f16(const unsigned char* frame, const float* image_from_crop, half_t* out,
                                              int H, int W, int h, int w, int most_taps, float scale, float shift) {
  crop<half_t>(frame, image_from_crop, out, H, W, h, w, most_taps, scale, shift);
}
