// Reference and contract: kernels/crop_normalize.py. Shape letters as there.
#include "half.cuh"
#include "pixels.cuh"
#include "resample.cuh"

namespace {

struct Colour { float a, b, c; };  // red, green, blue, or luma and both chroma values

__device__ __forceinline__ Colour read(const unsigned char* frame, float x, float y, int H, int W, int pixels) {
  Corner at = corner_at(x, y, W, H);
  if (pixels == RGB || pixels == BGR) {
    int first = pixels == RGB ? 0 : 2;
    return {bilinear(frame + first, at, 3 * W, 3), bilinear(frame + 1, at, 3 * W, 3),
            bilinear(frame + 2 - first, at, 3 * W, 3)};
  }
  // Clamp to the luma plane first: chroma beyond the border is the border's own.
  x = fminf(fmaxf(x, 0.f), (float)(W - 1));
  y = fminf(fmaxf(y, 0.f), (float)(H - 1));
  Corner half = corner_at((x - .5f) * .5f, (y - .5f) * .5f, W / 2, H / 2);
  const unsigned char* u = frame + (size_t)H * W;
  if (pixels == NV12) return {bilinear(frame, at, W, 1), bilinear(u, half, W, 2), bilinear(u + 1, half, W, 2)};
  const unsigned char* v = u + (size_t)(H / 2) * (W / 2);
  return {bilinear(frame, at, W, 1), bilinear(u, half, W / 2, 1), bilinear(v, half, W / 2, 1)};
}

__device__ __forceinline__ Colour rgb_from_yuv(Colour yuv, float kr, float kb) {
  float luma = (yuv.a - 16.f) * (255.f / 219.f);
  float red = luma + 2.f * (1.f - kr) * (255.f / 224.f) * (yuv.c - 128.f);
  float blue = luma + 2.f * (1.f - kb) * (255.f / 224.f) * (yuv.b - 128.f);
  return {red, (luma - kr * red - kb * blue) / (1.f - kr - kb), blue};
}

__device__ __forceinline__ float normalized(float value, float scale, float shift) {
  return fminf(fmaxf(value, 0.f), 255.f) * scale + shift;
}

// One thread: one crop pixel.
template <class T>
__device__ __forceinline__ void crop(const unsigned char* __restrict__ frame, const float* __restrict__ matrix,
                                     T* __restrict__ out, int H, int W, int h, int w, int pixels, int most_taps,
                                     float kr, float kb, float scale, float shift) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= w || y >= h) return;
  size_t n = blockIdx.z;
  bool planar = pixels == NV12 || pixels == I420;
  frame += n * (planar ? (size_t)H / 2 * 3 * W : (size_t)H * W * 3);
  const float* m = matrix + n * 6;
  int nx = tap_count(m[0], m[3], most_taps), ny = tap_count(m[1], m[4], most_taps);
  Colour sum = {0.f, 0.f, 0.f};
  for (int j = 0; j < ny; j++)
    for (int i = 0; i < nx; i++) {
      float cx = (float)x + ((float)i + .5f) / (float)nx - .5f, cy = (float)y + ((float)j + .5f) / (float)ny - .5f;
      Colour at = read(frame, m[0] * cx + m[1] * cy + m[2], m[3] * cx + m[4] * cy + m[5], H, W, pixels);
      sum.a += at.a;
      sum.b += at.b;
      sum.c += at.c;
    }
  float share = 1.f / (float)(nx * ny);
  Colour mean = {sum.a * share, sum.b * share, sum.c * share};
  if (planar) mean = rgb_from_yuv(mean, kr, kb);
  size_t plane = (size_t)h * w;
  out += n * 3 * plane + (size_t)y * w + x;
  out[0] = from_float<T>(normalized(mean.a, scale, shift));
  out[plane] = from_float<T>(normalized(mean.b, scale, shift));
  out[2 * plane] = from_float<T>(normalized(mean.c, scale, shift));
}

}  // namespace

extern "C" __global__ void crop_normalize_f32(const unsigned char* frame, const float* image_from_crop, float* out,
                                              int H, int W, int h, int w, int pixels, int most_taps, float kr,
                                              float kb, float scale, float shift) {
  crop<float>(frame, image_from_crop, out, H, W, h, w, pixels, most_taps, kr, kb, scale, shift);
}
extern "C" __global__ void crop_normalize_f16(const unsigned char* frame, const float* image_from_crop, half_t* out,
                                              int H, int W, int h, int w, int pixels, int most_taps, float kr,
                                              float kb, float scale, float shift) {
  crop<half_t>(frame, image_from_crop, out, H, W, h, w, pixels, most_taps, kr, kb, scale, shift);
}
