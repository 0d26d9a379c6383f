// Reference and contract: kernels/blur.py. Shape letters as there.
#include "half.cuh"

namespace {

const int BLOCK = 128;  // threads; kernels/blur.py launches these
const int GROUP = 4;  // input rows that a thread reads at a time: 16 loads in flight; kernels/blur.py

// The four packs of an input row that one output column reads; zeros outside the map.
template <class T, int K> struct Row { Source<T, K> tap[4]; };

template <class T, int K>
__device__ __forceinline__ Row<T, K> read_row(const Source<T, K>* __restrict__ map, int at, int x, int y, int H,
                                              int W, int packs) {
  Row<T, K> row = {};
  bool inside = y >= 0 && y < H;
#pragma unroll
  for (int k = 0; k < 4; k++)
    if (inside && x + k >= 0 && x + k < W) row.tap[k] = map[at + k * packs];
  return row;
}

// Blurs one channel of a row across and adds it to the rows above: [1, 3, 3, 1] is [1, 1] three times, so each
// step adds the value that it had one row before. Three values are kept a channel, instead of three rows.
template <class T, int K>
__device__ __forceinline__ float add_row(const Row<T, K>& row, int c, float* before) {
  float outer = row.tap[0].at(c) + row.tap[3].at(c);
  float sum = outer + 3.f * (row.tap[1].at(c) + row.tap[2].at(c));
#pragma unroll
  for (int k = 0; k < 3; k++) {
    float above = before[k];
    before[k] = sum;
    sum += above;
  }
  return sum;
}

// NHWC. One thread: K channels of `rows` output pixels of one column, downwards.
template <class T, int K>
__device__ __forceinline__ void blur(const T* __restrict__ image, T* __restrict__ out, int C, int H, int W,
                                     int P, int Q, int padding, int stride, int rows, float scale) {
  int packs = C / K, item = blockIdx.x * blockDim.x + threadIdx.x;
  if (item >= Q * packs) return;
  int column = item / packs, first = blockIdx.y * rows;
  size_t n = blockIdx.z;
  const Source<T, K>* map = (const Source<T, K>*)image + n * H * W * packs;
  Pack<T, K>* target = (Pack<T, K>*)out + (n * P + first) * Q * packs + item;
  int x = column * stride - padding, y = first * stride - padding;
  int at = (y * W + x) * packs + item % packs;  // of the window's corner; outside the map it is never read
  int left = min(rows, P - first), due = 3, count = (rows - 1) * stride + 4;
  float before[K][3] = {};
  for (int start = 0; start < count; start += GROUP) {
    Row<T, K> group[GROUP];
#pragma unroll
    for (int i = 0; i < GROUP; i++) {
      group[i] = read_row<T, K>(map, at, x, y++, H, W, packs);
      at += W * packs;
    }
#pragma unroll
    for (int i = 0; i < GROUP; i++) {
      float sum[K];
#pragma unroll
      for (int c = 0; c < K; c++) sum[c] = add_row<T, K>(group[i], c, before[c]);
      if (start + i != due || left == 0) continue;
      Pack<T, K> result;
#pragma unroll
      for (int c = 0; c < K; c++) result.lane[c] = from_float<T>(sum[c] * scale);
      *target = result;
      target += Q * packs;
      due += stride;
      left--;
    }
  }
}

}  // namespace

extern "C" __global__ void blur_f32(const float* image, float* out, int C, int H, int W, int P, int Q,
    int padding, int stride, int rows, float scale) {
  blur<float, 1>(image, out, C, H, W, P, Q, padding, stride, rows, scale);
}
extern "C" __global__ void blur_f16(const half_t* image, half_t* out, int C, int H, int W, int P, int Q,
    int padding, int stride, int rows, float scale) {
  blur<half_t, 1>(image, out, C, H, W, P, Q, padding, stride, rows, scale);
}
extern "C" __global__ void __launch_bounds__(BLOCK, 4) blur_packed_f32(const float* image, float* out, int C,
    int H, int W, int P, int Q, int padding, int stride, int rows, float scale) {
  blur<float, 4>(image, out, C, H, W, P, Q, padding, stride, rows, scale);
}
extern "C" __global__ void __launch_bounds__(BLOCK, 4) blur_packed_f16(const half_t* image, half_t* out, int C,
    int H, int W, int P, int Q, int padding, int stride, int rows, float scale) {
  blur<half_t, 8>(image, out, C, H, W, P, Q, padding, stride, rows, scale);
}
