// Reference and contract: kernels/warp_blend.py. Shape letters as there.
#include "half.cuh"

namespace {

// Where one output pixel reads its feature map, and how it blends.
struct Tap {
  int offset[4];    // north-west, north-east, south-west, south-east, in pixels of [h, w]; kept inside the map
  float weight[4];  // bilinear weight, 0 where the corner lies outside the map
  float inside[4];  // 1 where the corner lies inside, else 0
  float wx, wy;     // fractions towards east and south
  float tanh_x, tanh_y, mask;
};

// Distance of the values of torch.linspace(-1, 1, count).
__device__ __forceinline__ float linspace_step(int count) { return count == 1 ? 0.f : 2.f / (float)(count - 1); }

// torch.linspace(-1, 1, count)[i]: counted from the nearer end, so both ends are exact.
__device__ __forceinline__ float linspace(int i, int count, float step) {
  return i < max(count / 2, 1) ? -1.f + step * (float)i : 1.f - step * (float)(count - 1 - i);
}

__device__ __forceinline__ Tap read_flow(const float* __restrict__ flow, int px, int py, float step_x,
                                         float step_y, int h, int w, int H, int W) {
  Tap tap;
  int plane = H * W, pixel = py * W + px;
  float flow_x = flow[pixel], flow_y = flow[plane + pixel], flow_mask = flow[2 * plane + pixel];
  float grid_x = linspace(px, W, step_x), grid_y = linspace(py, H, step_y);
  tap.tanh_x = tanhf(flow_x);
  tap.tanh_y = tanhf(flow_y);
  tap.mask = __fdividef(1.f, 1.f + expf(-flow_mask));
  // align_corners=False, although the grid was laid out as if corners were aligned: see the contract.
  float x = ((grid_x + tap.tanh_x + 1.f) * (float)w - 1.f) * .5f;
  float y = ((grid_y + tap.tanh_y + 1.f) * (float)h - 1.f) * .5f;
  int x0 = __float2int_rd(x), y0 = __float2int_rd(y);
  tap.wx = x - (float)x0;
  tap.wy = y - (float)y0;
#pragma unroll
  for (int k = 0; k < 4; k++) {
    int cx = x0 + (k & 1), cy = y0 + (k >> 1);
    bool inside = cx >= 0 && cx < w && cy >= 0 && cy < h;
    tap.inside[k] = inside ? 1.f : 0.f;
    tap.offset[k] = inside ? cy * w + cx : 0;
    tap.weight[k] = tap.inside[k] * ((k & 1) ? tap.wx : 1.f - tap.wx) * ((k >> 1) ? tap.wy : 1.f - tap.wy);
  }
  return tap;
}

__device__ __forceinline__ Tap read_flow(const float* __restrict__ flow, int pixel, int h, int w, int H, int W) {
  return read_flow(flow, pixel % W, pixel / W, linspace_step(W), linspace_step(H), h, w, H, W);
}

// One thread: one pixel, `chunk` channels. Strides say the layout: (h * w, 1) is NCHW, (1, C) is NHWC.
template <class T>
__device__ __forceinline__ void forward(const T* __restrict__ feature, const T* __restrict__ activation,
                                        const float* __restrict__ flow, T* __restrict__ warped,
                                        T* __restrict__ blended, int C, int h, int w, int H, int W,
                                        int packed_layout, int chunk) {
  int pixel = blockIdx.x * blockDim.x + threadIdx.x;
  if (pixel >= H * W) return;
  size_t n = blockIdx.z;
  Tap tap = read_flow(flow + n * 3 * H * W, pixel, h, w, H, W);
  size_t in_channel = packed_layout ? 1 : (size_t)h * w, out_channel = packed_layout ? 1 : (size_t)H * W;
  size_t step = packed_layout ? C : 1;
  feature += n * C * h * w;
  size_t base = n * C * H * W + pixel * step;
  int first = blockIdx.y * chunk, last = min(first + chunk, C);
#pragma unroll 8
  for (int c = first; c < last; c++) {
    const T* map = feature + c * in_channel;
    float sample = 0.f;
#pragma unroll
    for (int k = 0; k < 4; k++) sample += tap.weight[k] * to_float(map[tap.offset[k] * step]);
    float warp = sample * tap.mask;
    size_t at = base + c * out_channel;
    warped[at] = from_float<T>(warp);
    blended[at] = from_float<T>(warp + to_float(activation[at]) * (1.f - tap.mask));
  }
}

const int BLOCK = 128;  // of the packed kernels; kernels/warp_blend.py launches these
// Their launch bounds grant 64 registers a thread: without them the compiler saves registers, and reads the next
// corner only when the last one has arrived.

// NHWC, C a multiple of K * SHARE: one thread moves SHARE packs of K channels of a pixel, each in one 16-byte
// access per corner. The grid's y counts rows. All that does not depend on the flow is read before it is used.
template <class T, int K, int SHARE>
__device__ __forceinline__ void forward_packed(const T* __restrict__ feature, const T* __restrict__ activation,
                                               const float* __restrict__ flow, T* __restrict__ warped,
                                               T* __restrict__ blended, int C, int h, int w, int H, int W,
                                               float step_x, float step_y) {
  int packs = C / K, groups = packs / SHARE;
  int item = blockIdx.x * blockDim.x + threadIdx.x;
  if (item >= W * groups) return;
  int x = item / groups, y = blockIdx.y, pack = item - x * groups;
  size_t n = blockIdx.z, at = ((n * H + y) * W + x) * packs + pack;
  const Source<T, K>* map = (const Source<T, K>*)feature + n * h * w * packs + pack;
  Source<T, K> kept[SHARE], corner[SHARE][4];
#pragma unroll
  for (int s = 0; s < SHARE; s++) kept[s] = ((const Source<T, K>*)activation)[at + s * groups];
  Tap tap = read_flow(flow + n * 3 * H * W, x, y, step_x, step_y, h, w, H, W);
#pragma unroll
  for (int s = 0; s < SHARE; s++)
#pragma unroll
    for (int k = 0; k < 4; k++) corner[s][k] = map[(size_t)tap.offset[k] * packs + s * groups];
#pragma unroll
  for (int s = 0; s < SHARE; s++) {
    Pack<T, K> warp, blend;
#pragma unroll
    for (int i = 0; i < K; i++) {
      float sample = 0.f;
#pragma unroll
      for (int k = 0; k < 4; k++) sample += tap.weight[k] * corner[s][k].at(i);
      float value = sample * tap.mask;
      warp.lane[i] = from_float<T>(value);
      blend.lane[i] = from_float<T>(value + kept[s].at(i) * (1.f - tap.mask));
    }
    ((Pack<T, K>*)warped)[at + s * groups] = warp;
    ((Pack<T, K>*)blended)[at + s * groups] = blend;
  }
}

const int PLUGIN_CHUNK = 8;

const int PIXELS = 32, LANES = 8;  // of one block of the backward pass; kernels/warp_blend.py launches these

// One block: 32 pixels by 8 channel lanes. The flow's gradient is a sum over channels: kept in registers, then
// added over the lanes in shared memory, so that it is the same on every run. The feature's gradient scatters,
// with atomics in float32, as torch's grid_sample does.
template <class T>
__device__ __forceinline__ void backward(const T* __restrict__ feature, const T* __restrict__ activation,
                                         const float* __restrict__ flow, const T* __restrict__ grad_warped,
                                         const T* __restrict__ grad_blended, float* grad_feature,
                                         T* __restrict__ grad_activation, float* __restrict__ grad_flow, int C,
                                         int h, int w, int H, int W, int packed_layout) {
  __shared__ float partial[3][LANES][PIXELS];
  int pixel = blockIdx.x * PIXELS + threadIdx.x;
  size_t n = blockIdx.z;
  bool live = pixel < H * W;
  Tap tap = read_flow(flow + n * 3 * H * W, live ? pixel : 0, h, w, H, W);
  size_t in_channel = packed_layout ? 1 : (size_t)h * w, out_channel = packed_layout ? 1 : (size_t)H * W;
  size_t step = packed_layout ? C : 1;
  size_t base = n * C * H * W + pixel * step, source = n * C * h * w;
  float dx = 0.f, dy = 0.f, dmask = 0.f;
  for (int c = threadIdx.y; live && c < C; c += LANES) {
    size_t at = base + c * out_channel, map = source + c * in_channel;
    float onto_blended = to_float(grad_blended[at]);
    float onto_warped = to_float(grad_warped[at]) + onto_blended;
    float onto_sample = onto_warped * tap.mask;
    float corner[4], sample = 0.f;
#pragma unroll
    for (int k = 0; k < 4; k++) {
      size_t place = map + tap.offset[k] * step;
      corner[k] = tap.inside[k] * to_float(feature[place]);
      sample += tap.weight[k] * corner[k];
      if (tap.inside[k] != 0.f) atomicAdd(grad_feature + place, onto_sample * tap.weight[k]);
    }
    dx += onto_sample * ((corner[1] - corner[0]) * (1.f - tap.wy) + (corner[3] - corner[2]) * tap.wy);
    dy += onto_sample * ((corner[2] - corner[0]) * (1.f - tap.wx) + (corner[3] - corner[1]) * tap.wx);
    dmask += onto_warped * sample - onto_blended * to_float(activation[at]);
    grad_activation[at] = from_float<T>(onto_blended * (1.f - tap.mask));
  }
  partial[0][threadIdx.y][threadIdx.x] = dx;
  partial[1][threadIdx.y][threadIdx.x] = dy;
  partial[2][threadIdx.y][threadIdx.x] = dmask;
  __syncthreads();
  if (!live || threadIdx.y >= 3) return;
  float sum = 0.f;
  for (int lane = 0; lane < LANES; lane++) sum += partial[threadIdx.y][lane][threadIdx.x];
  // Chain rule through pixel = ((grid + 1) * size - 1) / 2 with grid = base + tanh(flow), and the sigmoid.
  float slope[3] = {.5f * (float)w * (1.f - tap.tanh_x * tap.tanh_x),
                    .5f * (float)h * (1.f - tap.tanh_y * tap.tanh_y), tap.mask * (1.f - tap.mask)};
  grad_flow[(n * 3 + threadIdx.y) * H * W + pixel] = sum * slope[threadIdx.y];
}

}  // namespace

extern "C" __global__ void warp_blend_f32(const float* feature, const float* activation, const float* flow,
                                          float* warped, float* blended, int C, int h, int w, int H, int W,
                                          int packed_layout, int chunk) {
  forward<float>(feature, activation, flow, warped, blended, C, h, w, H, W, packed_layout, chunk);
}
extern "C" __global__ void warp_blend_f16(const half_t* feature, const half_t* activation, const float* flow,
                                          half_t* warped, half_t* blended, int C, int h, int w, int H, int W,
                                          int packed_layout, int chunk) {
  forward<half_t>(feature, activation, flow, warped, blended, C, h, w, H, W, packed_layout, chunk);
}
extern "C" __global__ void __launch_bounds__(BLOCK, 8) warp_blend_packed_f32(const float* feature,
    const float* activation, const float* flow, float* warped, float* blended, int C, int h, int w, int H,
    int W, float step_x, float step_y) {
  forward_packed<float, 4, 1>(feature, activation, flow, warped, blended, C, h, w, H, W, step_x, step_y);
}
extern "C" __global__ void __launch_bounds__(BLOCK, 8) warp_blend_packed_f16(const half_t* feature,
    const half_t* activation, const float* flow, half_t* warped, half_t* blended, int C, int h, int w, int H,
    int W, float step_x, float step_y) {
  forward_packed<half_t, 8, 1>(feature, activation, flow, warped, blended, C, h, w, H, W, step_x, step_y);
}
extern "C" __global__ void __launch_bounds__(BLOCK, 8) warp_blend_paired_f32(const float* feature,
    const float* activation, const float* flow, float* warped, float* blended, int C, int h, int w, int H,
    int W, float step_x, float step_y) {
  forward_packed<float, 4, 2>(feature, activation, flow, warped, blended, C, h, w, H, W, step_x, step_y);
}
extern "C" __global__ void __launch_bounds__(BLOCK, 8) warp_blend_paired_f16(const half_t* feature,
    const half_t* activation, const float* flow, half_t* warped, half_t* blended, int C, int h, int w, int H,
    int W, float step_x, float step_y) {
  forward_packed<half_t, 8, 2>(feature, activation, flow, warped, blended, C, h, w, H, W, step_x, step_y);
}
// TensorRT's order for plug-ins: inputs, numbers, outputs. kernels/warp_blend.py: PLUGIN_CHUNK.
extern "C" __global__ void warp_blend_plugin_f32(const float* feature, const float* activation, const float* flow,
                                                 int C, int h, int w, int H, int W, int packed_layout,
                                                 float* warped, float* blended) {
  forward<float>(feature, activation, flow, warped, blended, C, h, w, H, W, packed_layout, PLUGIN_CHUNK);
}
extern "C" __global__ void warp_blend_plugin_f16(const half_t* feature, const half_t* activation,
                                                 const float* flow, int C, int h, int w, int H, int W,
                                                 int packed_layout, half_t* warped, half_t* blended) {
  forward<half_t>(feature, activation, flow, warped, blended, C, h, w, H, W, packed_layout, PLUGIN_CHUNK);
}
extern "C" __global__ void __launch_bounds__(BLOCK, 8) warp_blend_plugin_packed_f16(const half_t* feature,
    const half_t* activation, const float* flow, int C, int h, int w, int H, int W, int packed_layout,
    half_t* warped, half_t* blended) {
  forward_packed<half_t, 8, 1>(feature, activation, flow, warped, blended, C, h, w, H, W, linspace_step(W),
                               linspace_step(H));
}
extern "C" __global__ void warp_blend_backward_f32(const float* feature, const float* activation,
                                                   const float* flow, const float* grad_warped,
                                                   const float* grad_blended, float* grad_feature,
                                                   float* grad_activation, float* grad_flow, int C, int h, int w,
                                                   int H, int W, int packed_layout) {
  backward<float>(feature, activation, flow, grad_warped, grad_blended, grad_feature, grad_activation, grad_flow,
                  C, h, w, H, W, packed_layout);
}
extern "C" __global__ void warp_blend_backward_f16(const half_t* feature, const half_t* activation,
                                                   const float* flow, const half_t* grad_warped,
                                                   const half_t* grad_blended, float* grad_feature,
                                                   half_t* grad_activation, float* grad_flow, int C, int h, int w,
                                                   int H, int W, int packed_layout) {
  backward<half_t>(feature, activation, flow, grad_warped, grad_blended, grad_feature, grad_activation,
                   grad_flow, C, h, w, H, W, packed_layout);
}
