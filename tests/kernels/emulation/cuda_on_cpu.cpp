#include "cuda_on_cpu.h"

namespace emulation {

static const size_t STACK = 256 << 10;

static void start(Fiber& fiber, Index id) {
  if (fiber.stack.empty()) fiber.stack.resize(STACK);
  fiber.done = false;
  fiber.barriers = 0;
  fiber.id = id;
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.data();
  fiber.context.uc_stack.ss_size = fiber.stack.size();
  fiber.context.uc_link = &scheduler;
  makecontext(&fiber.context, entry, 0);
}

// Runs every thread to its next barrier, again and again. False when a barrier was not reached by all.
bool run_block(std::vector<unsigned>& turns, std::mt19937& random) {
  for (unsigned i = 0; i < turns.size(); i++)
    start(fibers[i], {i % threads.x, i / threads.x % threads.y, i / (threads.x * threads.y)});
  for (Span span : shared_memory) memset(span.at, 0xff, span.bytes);
  size_t alive = turns.size();
  while (alive) {
    if (order == SHUFFLED) std::shuffle(turns.begin(), turns.end(), random);
    size_t left = 0;
    int fewest = INT32_MAX, most = 0;
    for (unsigned i : turns) {
      if (fibers[i].done) continue;
      running = &fibers[i];
      thread = running->id;
      swapcontext(&scheduler, &running->context);
      if (running->done) continue;
      left++;
      fewest = std::min(fewest, running->barriers);
      most = std::max(most, running->barriers);
    }
    if (left && (left != alive || fewest != most)) return false;
    alive = left;
  }
  return true;
}

int launch(const Kernel& kernel, Index grid, Index shape, void** arguments) {
  size_t count = (size_t)shape.x * shape.y * shape.z, total = (size_t)grid.x * grid.y * grid.z;
  bool fits = count && total && count <= 1024 && shape.z <= 64 && grid.y <= 65535 && grid.z <= 65535;
  if (!fits) { failure = "invalid launch configuration"; return 1; }
  blocks = grid;
  threads = shape;
  body = [&] { kernel(arguments); };
  if (fibers.size() < count) fibers.resize(count);
  std::vector<unsigned> turns(count);
  std::vector<size_t> places(total);
  std::iota(turns.begin(), turns.end(), 0u);
  std::iota(places.begin(), places.end(), (size_t)0);
  std::mt19937 random(7);
  if (order == DESCENDING) { std::reverse(turns.begin(), turns.end()); std::reverse(places.begin(), places.end()); }
  if (order == SHUFFLED) std::shuffle(places.begin(), places.end(), random);
  for (size_t at : places) {
    block = {(unsigned)(at % grid.x), (unsigned)(at / grid.x % grid.y), (unsigned)(at / grid.x / grid.y)};
    if (!run_block(turns, random)) { failure = "a barrier was not reached by every thread of a block"; return 719; }
  }
  return 0;
}

unsigned short float_to_half(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return (unsigned short)(sign | 0x7fff);
  if (magnitude >= 0x477ff000u) return (unsigned short)(sign | 0x7c00);  // rounds past 65504
  if (magnitude < 0x38800000u) {                                         // a subnormal half, or zero
    float scaled;
    memcpy(&scaled, &magnitude, 4);
    return (unsigned short)(sign | (uint32_t)std::nearbyint(scaled * 16777216.f));
  }
  uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return (unsigned short)(sign | ((rounded - 0x38000000u) >> 13));
}

float half_to_float(unsigned short half) {
  uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = half >> 10 & 31u, fraction = half & 0x3ffu;
  float value;
  if (exponent == 0) {
    value = (float)fraction / 16777216.f;
    return sign ? -value : value;
  }
  uint32_t bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112u) << 23) | fraction << 13;
  memcpy(&value, &bits, 4);
  return value;
}

}  // namespace emulation

// What tests/kernels/emulation/__init__.py calls. A function handle is a pointer to the kernel.
#pragma GCC visibility push(default)
extern "C" {
void* emulation_find(const char* name) {
  auto found = emulation::registry().find(name);
  return found == emulation::registry().end() ? nullptr : &found->second;
}
const char* emulation_launch(void* function, const unsigned* grid, const unsigned* block, void** arguments) {
  int status = emulation::launch(*(emulation::Kernel*)function, {grid[0], grid[1], grid[2]},
                                 {block[0], block[1], block[2]}, arguments);
  return status ? emulation::failure.c_str() : nullptr;
}
void emulation_order(int order) { emulation::order = order; }
unsigned short emulation_float_to_half(float value) { return emulation::float_to_half(value); }
float emulation_half_to_float(unsigned short bits) { return emulation::half_to_float(bits); }
}
