// Reference and contract: kernels/paste_back.py. Shape letters as there.
#include "half.cuh"
#include "resample.cuh"
#include "write_rgb.cuh"

namespace {

template <class T> struct Picture {
  const unsigned char* frame;
  const T* face;
  const float *mask, *matrix;
  int H, W, h, w, most_taps;

  __device__ __forceinline__ void shade(int x, int y, float rgb[3]) const;
};

// One frame pixel with the face over it, red, green and blue in 0..255.
template <class T> __device__ __forceinline__ void Picture<T>::shade(int x, int y, float rgb[3]) const {
  const Picture& p = *this;
  const float* m = p.matrix;
  int nx = tap_count(m[0], m[3], p.most_taps), ny = tap_count(m[1], m[4], p.most_taps);
  float behind[3], sum[3] = {0.f, 0.f, 0.f};
#pragma unroll
  for (int c = 0; c < 3; c++) behind[c] = (float)p.frame[((size_t)y * p.W + x) * 3 + c];
  // Each sample is blended by itself: alpha falls off within a frame pixel where the crop is shrunk.
  for (int j = 0; j < ny; j++)
    for (int i = 0; i < nx; i++) {
      float fx = (float)x + ((float)i + .5f) / (float)nx - .5f, fy = (float)y + ((float)j + .5f) / (float)ny - .5f;
      float cx = m[0] * fx + m[1] * fy + m[2], cy = m[3] * fx + m[4] * fy + m[5];
      bool inside = cx >= 0.f && cx <= (float)(p.w - 1) && cy >= 0.f && cy <= (float)(p.h - 1);
      Corner at = corner_at(cx, cy, p.w, p.h);
      float alpha = inside ? bilinear(p.mask, at, p.w, 1) : 0.f;
#pragma unroll
      for (int c = 0; c < 3; c++) {
        float value = 0.f;
        if (alpha > 0.f) {
          value = bilinear(p.face + (size_t)c * p.h * p.w, at, p.w, 1) * 127.5f + 127.5f;
          value = fminf(fmaxf(value, 0.f), 255.f);
        }
        sum[c] += alpha * value + (1.f - alpha) * behind[c];
      }
    }
  float share = 1.f / (float)(nx * ny);
#pragma unroll
  for (int c = 0; c < 3; c++) rgb[c] = sum[c] * share;
}

template <class T>
__device__ __forceinline__ Picture<T> picture(const unsigned char* frame, const T* face, const float* mask,
                                              const float* matrix, int H, int W, int h, int w, int most_taps) {
  size_t n = blockIdx.z;
  return {frame + n * H * W * 3, face + n * 3 * h * w, mask, matrix + n * 6, H, W, h, w, most_taps};
}

}  // namespace

extern "C" __global__ void paste_back_f32(const unsigned char* frame, const float* face, const float* mask,
                                          const float* crop_from_image, unsigned char* out, int H, int W, int h,
                                          int w, int most_taps) {
  write_rgb(picture(frame, face, mask, crop_from_image, H, W, h, w, most_taps), out);
}
extern "C" __global__ void paste_back_f16(const unsigned char* frame, const half_t* face, const float* mask,
                                          const float* crop_from_image, unsigned char* out, int H, int W, int h,
                                          int w, int most_taps) {
  write_rgb(picture(frame, face, mask, crop_from_image, H, W, h, w, most_taps), out);
}
