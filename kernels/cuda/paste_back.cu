// Reference and contract: kernels/paste_back.py. Shape letters as there.
namespace {

template <class T> struct Picture {
  const unsigned char* frame;
  const T* face;
  const float *mask, *matrix, *colour;
  int H, W, h, w, most_taps;
};

// One frame pixel with the face over it, red, green and blue in 0..255.
template <class T> __device__ __forceinline__ void blend(const Picture<T>& p, int x, int y, float rgb[3]) {
  const float* m = p.matrix;
  int nx = tap_count(m[0], m[3], p.most_taps), ny = tap_count(m[1], m[4], p.most_taps);
  float behind[3], sum[3] = {0.f, 0.f, 0.f};
#pragma unroll
  for (int c = 0; c < 3; c++) behind[c] = (float)p.frame[((size_t)y * p.W + x) * 3 + c];
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
          value = bilinear(p.face + (size_t)c * p.h * p.w, at, p.w, 1) * p.colour[2 * c] + p.colour[2 * c + 1];
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
                                              const float* matrix, const float* colour, int H, int W, int h, int w,
                                              int most_taps) {
  size_t n = blockIdx.z;
  return {frame + n * H * W * 3, face + n * 3 * h * w, mask, matrix + n * 6, colour + n * 6, H, W, h, w, most_taps};
}

__device__ __forceinline__ unsigned char to_byte(float value) {
  return (unsigned char)__float2int_rn(fminf(fmaxf(value, 0.f), 255.f));
}

// One thread: one pixel. Each reads only the frame pixel it writes, so `out` may be the frame.
template <class T>
__device__ __forceinline__ void packed(const Picture<T>& p, unsigned char* out, int pixels) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= p.W || y >= p.H) return;
  float rgb[3];
  blend(p, x, y, rgb);
  out += (((size_t)blockIdx.z * p.H + y) * p.W + x) * 3;
  out[0] = to_byte(pixels == RGB ? rgb[0] : rgb[2]);
  out[1] = to_byte(rgb[1]);
  out[2] = to_byte(pixels == RGB ? rgb[2] : rgb[0]);
}

// One thread: two by two pixels, which share one pair of chroma values.
template <class T>
__device__ __forceinline__ void planar(const Picture<T>& p, unsigned char* out, int pixels, float kr, float kb) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= p.W / 2 || y >= p.H / 2) return;
  out += (size_t)blockIdx.z * (p.H / 2 * 3) * p.W;
  float u = 0.f, v = 0.f;
#pragma unroll
  for (int k = 0; k < 4; k++) {
    int px = 2 * x + (k & 1), py = 2 * y + (k >> 1);
    float rgb[3];
    blend(p, px, py, rgb);
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

}  // namespace

extern "C" __global__ void paste_back_packed_f32(const unsigned char* frame, const float* face, const float* mask,
                                                 const float* crop_from_image, const float* colour,
                                                 unsigned char* out, int H, int W, int h, int w, int pixels,
                                                 int most_taps, float, float) {
  packed(picture(frame, face, mask, crop_from_image, colour, H, W, h, w, most_taps), out, pixels);
}
extern "C" __global__ void paste_back_packed_f16(const unsigned char* frame, const half_t* face, const float* mask,
                                                 const float* crop_from_image, const float* colour,
                                                 unsigned char* out, int H, int W, int h, int w, int pixels,
                                                 int most_taps, float, float) {
  packed(picture(frame, face, mask, crop_from_image, colour, H, W, h, w, most_taps), out, pixels);
}
extern "C" __global__ void paste_back_planar_f32(const unsigned char* frame, const float* face, const float* mask,
                                                 const float* crop_from_image, const float* colour,
                                                 unsigned char* out, int H, int W, int h, int w, int pixels,
                                                 int most_taps, float kr, float kb) {
  planar(picture(frame, face, mask, crop_from_image, colour, H, W, h, w, most_taps), out, pixels, kr, kb);
}
extern "C" __global__ void paste_back_planar_f16(const unsigned char* frame, const half_t* face, const float* mask,
                                                 const float* crop_from_image, const float* colour,
                                                 unsigned char* out, int H, int W, int h, int w, int pixels,
                                                 int most_taps, float kr, float kb) {
  planar(picture(frame, face, mask, crop_from_image, colour, H, W, h, w, most_taps), out, pixels, kr, kb);
}
