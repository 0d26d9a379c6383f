// Reference and contract: kernels/warp_composite.py. Shape letters as there.
#include "half.cuh"
#include "resample.cuh"
#include "write_rgb.cuh"

namespace {

// The numbers of one picture, in the order of kernels/warp_composite.py.
struct Place {
  float ux, ux0, uy, uy0, texel, texel_x0, texel_y0, left, top, right, bottom, fade, edge_x, edge_y, beyond;
};

__device__ __forceinline__ float smooth(float x) {
  x = fminf(fmaxf(x, 0.f), 1.f);
  return x * x * (3.f - 2.f * x);
}

// Where a place in crop units lies in a map of this side, pixel centres at whole numbers.
__device__ __forceinline__ float cell(float u, int side) { return (u + 1.f) * .5f * (float)side - .5f; }

template <class T> struct WarpComposite {
  const unsigned char *texture, *background;
  const T* inpaint;
  const float *visibility, *flow;
  const float* numbers;
  int H, W, K, L, S, h;

  // One canvas pixel: the person's own where the flow points, over the still background, and what is painted over it.
  __device__ __forceinline__ void shade(int x, int y, float rgb[3]) const {
    const Place& at = *(const Place*)numbers;
    float ux = at.ux * (float)x + at.ux0, uy = at.uy * (float)y + at.uy0;
    // Beyond the crop (far > 0) the motion at its edge fades, since nothing was generated there.
    float far = fmaxf(fabsf(ux), fabsf(uy)) - 1.f;
    float left = far > 0.f ? smooth(1.f - at.fade * far) : 1.f;
    Corner place = corner_at(cell(ux, h), cell(uy, h), h, h);
    float sx = ux + left * bilinear(flow, place, h, 1), sy = uy + left * bilinear(flow + (size_t)h * h, place, h, 1);
    Corner from = corner_at(at.texel * sx + at.texel_x0, at.texel * sy + at.texel_y0, L, K);
    Corner over = corner_at(cell(ux, S), cell(uy, S), S, S);
    float shown = far > 0.f ? 1.f : bilinear(visibility, over, S, 1);
    // Pixels that come from outside the crop show the portrait where it has any: the generator never saw it.
    float outside = fmaxf(fabsf(sx), fabsf(sy)) - 1.f;
    float inside = fminf(fminf(sx - at.left, at.right - sx), fminf(sy - at.top, at.bottom - sy));
    shown = fmaxf(shown, fminf(at.beyond * fminf(outside, inside), 1.f));
    // Paint ends softly at the crop's sides where the canvas goes on: a hard edge would be a seam.
    if (at.edge_x > 0.f) shown = fmaxf(shown, smooth(1.f - at.edge_x * (1.f - fabsf(ux))));
    if (at.edge_y > 0.f) shown = fmaxf(shown, smooth(1.f - at.edge_y * (1.f - fabsf(uy))));
    // Paint belongs to the person: the background behind it is known.
    float opacity = bilinear(texture + 3, from, 4 * L, 4) / 255.f;
    shown = 1.f - (1.f - shown) * opacity;
    const unsigned char* behind = background + ((size_t)y * W + x) * 3;
#pragma unroll
    for (int c = 0; c < 3; c++) {
      float value = bilinear(texture + c, from, 4 * L, 4) + (1.f - opacity) * to_float(behind[c]);
      if (shown < 1.f) {
        float paint = bilinear(inpaint + (size_t)c * S * S, over, S, 1) * 127.5f + 127.5f;
        value = shown * value + (1.f - shown) * fminf(fmaxf(paint, 0.f), 255.f);
      }
      rgb[c] = value;
    }
  }
};

template <class T>
__device__ __forceinline__ WarpComposite<T> picture(const unsigned char* texture, const unsigned char* background,
                                                    const T* inpaint, const float* visibility, const float* flow,
                                                    const float* numbers, int H, int W, int K, int L, int S, int h) {
  size_t n = blockIdx.z;
  return {texture + n * K * L * 4, background + n * H * W * 3, inpaint + n * 3 * S * S, visibility + n * S * S,
          flow + n * 2 * h * h, numbers + n * (sizeof(Place) / sizeof(float)), H, W, K, L, S, h};
}

}  // namespace

extern "C" __global__ void warp_composite_f32(const unsigned char* texture, const unsigned char* background,
                                              const float* inpaint, const float* visibility, const float* flow,
                                              const float* numbers, unsigned char* out, int H, int W, int K, int L,
                                              int S, int h) {
  write_rgb(picture(texture, background, inpaint, visibility, flow, numbers, H, W, K, L, S, h), out);
}
extern "C" __global__ void warp_composite_f16(const unsigned char* texture, const unsigned char* background,
                                              const half_t* inpaint, const float* visibility, const float* flow,
                                              const float* numbers, unsigned char* out, int H, int W, int K, int L,
                                              int S, int h) {
  write_rgb(picture(texture, background, inpaint, visibility, flow, numbers, H, W, K, L, S, h), out);
}
