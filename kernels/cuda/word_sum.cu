/*
 * The sum of the words of some memory (see sx_word_sum in ../sx_kernels.h): what a kernel reaches that does
 * nothing but read. Words wrap around, so that no order changes a bit.
 *
 * 16 bytes a thread and load, four loads under way; what is not aligned to 16 bytes is read by halves of a
 * word. A block of threads adds its sum to the output once. Bytes: those that are summed.
 */
#include "ops.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kLoads = 4;
/* Blocks of threads on a multiprocessor: all threads that it has. */
constexpr int kBlocksPerMultiprocessor = 8;

__device__ inline uint32_t sum_of(uint4 words) { return words.x + words.y + words.z + words.w; }

__device__ inline void add_to_out(int32_t* out, uint32_t sum) {
  sum = __reduce_add_sync(~0u, sum);
  if (threadIdx.x % 32 == 0) atomicAdd(reinterpret_cast<uint32_t*>(out), sum);
}

__global__ void __launch_bounds__(kThreads)
    sum_lines_kernel(int32_t* out, const uint4* in, int64_t count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  uint32_t sum = 0;
  for (; i + (kLoads - 1) * step < count; i += kLoads * step) {
    uint4 words[kLoads];
#pragma unroll
    for (int l = 0; l < kLoads; l++) words[l] = __ldcs(in + i + l * step);
#pragma unroll
    for (int l = 0; l < kLoads; l++) sum += sum_of(words[l]);
  }
  for (; i < count; i += step) sum += sum_of(__ldcs(in + i));
  add_to_out(out, sum);
}

/* Words by their halves: of memory that is not aligned, and of what is left behind whole lines. */
__global__ void __launch_bounds__(kThreads)
    sum_halves_kernel(int32_t* out, const uint16_t* in, int64_t count) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  uint32_t sum = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count;
       i += step) {
    sum += in[2 * i] | static_cast<uint32_t>(in[2 * i + 1]) << 16;
  }
  add_to_out(out, sum);
}

}  // namespace

sx_status word_sum(Context& context, const sx_word_sum_params& args) {
  const cudaError_t cleared = cudaMemsetAsync(args.out, 0, sizeof *args.out, context.stream);
  if (cleared != cudaSuccess) return device_failure(context, "word_sum", cleared);
  const int64_t most = int64_t{context.multiprocessors} * kBlocksPerMultiprocessor;
  const auto grid = [&](int64_t items) {
    return grid_of(max64(1, min64(most, ceil_div(items, kThreads))));
  };
  const int64_t lines = is_aligned(args.in) ? args.bytes / 16 : 0;
  if (lines > 0) {
    sum_lines_kernel<<<grid(lines), kThreads, 0, context.stream>>>(
        args.out, static_cast<const uint4*>(args.in), lines);
  }
  const int64_t words = (args.bytes - lines * 16) / 4;
  if (words > 0) {
    const auto* rest =
        reinterpret_cast<const uint16_t*>(static_cast<const char*>(args.in) + lines * 16);
    sum_halves_kernel<<<grid(words), kThreads, 0, context.stream>>>(args.out, rest, words);
  }
  return launched(context, "word_sum");
}

}  // namespace cuda
}  // namespace sx
