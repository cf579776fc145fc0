#!/usr/bin/env bash
# Hopper reads memory a fifth slower in pieces of 64 bytes, though every byte is asked for soon after.
#
# Versions: CUDA 13.0 (nvcc), driver 580.159.04, one NVIDIA H200; needs such a GPU, and is not for CI.
# Behaviour: warps copy rows of 8 KiB or 28 KiB to shared memory by cp.async, 16 bytes a lane, and ask
# for the rest of each line of 128 bytes in the next instruction. What a warp asks for at a time decides
# the rate: eight rows by 64 bytes, or two rows by 256. The modifier L2::128B makes up for it; 256B,
# which names more, is slower than 128B.
# A good engineer would guess: the L2 cache merges the halves of a line, as all are under way together,
# and a hint about prefetching gives nothing where everything is asked for anyway.
# Output seen: 64 bytes at a time 3,529 GB/s, with L2::128B 4,457, with L2::256B 3,987; 256 bytes at a
# time 4,469, with L2::128B 4,483.
# Why it matters: fragments of the tensor cores want 64 bytes of each of eight rows, so that kernels of
# decoding (weights, keys) read like this. Products of 16 rows gained a fifth by one word, and decode
# attention, whose keys are rows of 256 bytes, lost by 256B what it had gained by 128B.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >read.cu <<'CUDA'
#include <cuda_runtime.h>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#define COPY(HINT)                                                                             \
  asm volatile("cp.async.cg.shared.global" HINT " [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory")
/* Each warp has a queue of four steps of 2 KiB: eight rows by 256 bytes. */
template <int hint, bool whole>
__global__ void __launch_bounds__(256, 2) read_rows(const char* data, int64_t rows, int64_t row_bytes,
                                                    int* sink) {
  extern __shared__ char queue[];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  char* own = queue + warp * 8192 + lane * 16;
  int sum = 0, stage = 0;
  for (int64_t group = blockIdx.x; group < rows / 8; group += gridDim.x) {
    for (int64_t at = warp * 256; at < row_bytes; at += 2048) {
      for (int i = 0; i < 4; i++) {
        const int64_t row = whole ? 2 * i + lane / 16 : lane / 4;
        const int64_t byte = whole ? lane % 16 * 16 : 64 * i + lane % 4 * 16;
        const char* from = data + (group * 8 + row) * row_bytes + at + byte;
        const uint32_t to = static_cast<uint32_t>(__cvta_generic_to_shared(own + stage * 2048 + i * 512));
        if (hint == 0) COPY("");
        if (hint == 128) COPY(".L2::128B");
        if (hint == 256) COPY(".L2::256B");
      }
      asm volatile("cp.async.commit_group;" ::: "memory");
      asm volatile("cp.async.wait_group 3;" ::: "memory");
      stage = (stage + 1) % 4;
      sum += *reinterpret_cast<int*>(own + stage * 2048);
    }
  }
  asm volatile("cp.async.wait_group 0;" ::: "memory");
  if (sum == 123456789) *sink = sum;
}
template <int hint, bool whole>
double rate(const char* data, int64_t bytes, int64_t row_bytes, int* sink, int blocks) {
  cudaFuncSetAttribute(read_rows<hint, whole>, cudaFuncAttributeMaxDynamicSharedMemorySize, 65536);
  cudaEvent_t begin, end;
  cudaEventCreate(&begin), cudaEventCreate(&end);
  float ms[7];
  for (float& time : ms) {
    cudaEventRecord(begin);
    read_rows<hint, whole><<<blocks, 256, 65536>>>(data, bytes / row_bytes, row_bytes, sink);
    cudaEventRecord(end), cudaEventSynchronize(end);
    cudaEventElapsedTime(&time, begin, end);
  }
  std::sort(ms, ms + 7);
  return bytes / ms[3] / 1e6;
}
int main() {
  const int64_t bytes = int64_t{7} << 28, row_bytes = 8192; /* 1.75 GiB: far more than L2 holds */
  char* data;
  int *sink, blocks;
  if (cudaMalloc(&data, bytes) != cudaSuccess || cudaMalloc(&sink, 4) != cudaSuccess) return 2;
  cudaMemset(data, 0, bytes);
  cudaDeviceGetAttribute(&blocks, cudaDevAttrMultiProcessorCount, 0);
  const double halves[] = {rate<0, false>(data, bytes, row_bytes, sink, blocks),
                           rate<128, false>(data, bytes, row_bytes, sink, blocks),
                           rate<256, false>(data, bytes, row_bytes, sink, blocks)};
  const double lines[] = {rate<0, true>(data, bytes, row_bytes, sink, blocks),
                          rate<128, true>(data, bytes, row_bytes, sink, blocks)};
  printf("64 bytes at a time: %.0f GB/s, L2::128B %.0f, L2::256B %.0f\n", halves[0], halves[1],
         halves[2]);
  printf("256 bytes at a time: %.0f GB/s, L2::128B %.0f\n", lines[0], lines[1]);
  if (cudaGetLastError() != cudaSuccess) return 2;
  const bool same = halves[1] > 1.1 * halves[0] && lines[0] > 1.1 * halves[0] &&
                    halves[1] > 1.04 * halves[2] && lines[1] < 1.05 * lines[0];
  return same ? 0 : 1;
}
CUDA
nvcc -O3 -arch=sm_90 -o read read.cu
./read || { echo "Changed: rates of half lines, or no such GPU" >&2; exit 1; }
