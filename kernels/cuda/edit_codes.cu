// Reference and contract: kernels/edit_codes.py. Shape letters as there. One block a session.

namespace {

const int THREADS = 256;  // kernels/edit_codes.py launches these
const float TWO_PI = 6.283185307179586f, UNIT_MIN = 1e-6f;

// kernels/edit_codes.py: FIELDS.
enum Field {
  ACTIVE, FOLLOW, FRESH, SECONDS, TAKE_NEUTRAL, EXPRESSION_RELATIVE, POSE_RELATIVE, KEEP,
  EXPRESSION_GAIN, POSE_GAIN, EXPRESSION_SHARE, POSE_SHARE, CUTOFF_HZ, BETA, SPEED_CUTOFF_HZ, FIELDS
};

__device__ __forceinline__ float share(float cutoff_hz, float seconds) {
  return 1.f - expf(-TWO_PI * cutoff_hz * seconds);
}

// Root mean square of all codes; every thread gets it.
__device__ __forceinline__ float size_of(const float* expression, const float* pose, int L) {
  __shared__ float partial[THREADS];
  float sum = 0.f;
  for (int i = threadIdx.x; i < L; i += THREADS) sum += expression[i] * expression[i] + pose[i] * pose[i];
  partial[threadIdx.x] = sum;
  __syncthreads();
  for (int half = THREADS / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
    __syncthreads();
  }
  return fmaxf(sqrtf(partial[0] / (float)(2 * L)), UNIT_MIN);
}

}  // namespace

extern "C" __global__ void edit_codes_f32(const float* __restrict__ expression, const float* __restrict__ pose,
                                          const float* __restrict__ own, const float* __restrict__ numbers,
                                          float* past, float* unit, float* __restrict__ out, int L) {
  size_t session = blockIdx.x;
  int D = 2 * L;
  const float* number = numbers + session * FIELDS;
  expression += session * L, pose += session * L, own += session * D, out += session * D;
  float *value = past + session * 5 * D, *speed = value + D, *neutral = speed + D, *held = neutral + D,
        *shown = held + D;
  bool active = number[ACTIVE] != 0.f, follow = number[FOLLOW] != 0.f, fresh = number[FRESH] != 0.f;
  float size = unit[session], seconds = number[SECONDS];
  if (active && follow && fresh) {  // the same for the whole block, so that all of it meets the barriers
    size = size_of(expression, pose, L);
    if (threadIdx.x == 0) unit[session] = size;
  }
  for (int i = threadIdx.x; i < D; i += THREADS) {
    if (!active) {
      out[i] = shown[i];
      continue;
    }
    int branch = i >= L;
    float target = own[i];
    if (follow) {
      float x = (branch ? pose[i - L] : expression[i]) / size, v = value[i], s = speed[i];
      if (fresh) {
        v = x;
        s = 0.f;
      } else if (seconds > 0.f) {
        s += share(number[SPEED_CUTOFF_HZ], seconds) * ((x - v) / seconds - s);
        v += share(number[CUTOFF_HZ] + number[BETA] * fabsf(s), seconds) * (x - v);
      }
      value[i] = v;
      speed[i] = s;
      float code = v * size, rest = neutral[i];
      if (number[TAKE_NEUTRAL] != 0.f) neutral[i] = rest = code;
      // Selects between two values, not two addresses. Of `relative ? neutral[i] : own[i]` NVRTC 13 makes one load
      // for constant memory, since `own` is one, and the assembler moves that load before the store above.
      float base = number[EXPRESSION_RELATIVE + branch] != 0.f ? rest : target;
      target += number[EXPRESSION_GAIN + branch] * (code - base);
    }
    float from = number[KEEP] != 0.f ? shown[i] : held[i], part = number[EXPRESSION_SHARE + branch];
    held[i] = from;
    out[i] = shown[i] = (1.f - part) * from + part * target;
  }
}
