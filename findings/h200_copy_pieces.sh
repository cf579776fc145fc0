#!/usr/bin/env bash
# Which 64 bytes a warp copies first costs a tenth to a fifth of an H200's memory rate.
#
# Versions: CUDA 13.0, NVIDIA H200 (compute capability 9.0), two cards, two runs on each.
# Behaviour: a kernel copies rows of 256 bytes (one bf16 key of 128 numbers) to shared memory by
# cp.async, 16 bytes a thread, and reads every byte once. In one form an instruction of a warp takes 2
# whole rows; in the other it takes 64 bytes of 8 rows, and the next three instructions take the rest of
# those rows, which is slower. The hint .L2::128B on the pieces brings the rate back, .L2::256B does not.
# A good engineer would guess: the same rate, since memory is read in sectors of 32 bytes, and all of a
# row is asked for within a few cycles.
# Output seen, GB/s: whole rows 4570 to 4683, pieces 3647 to 4104, with L2::128B 4459 to 4598, with
# L2::256B 4200 to 4228.
# Why it matters: decode attention is nothing but this loop, and a layout of threads that follows the
# fragments of matrix instructions (64 bytes of a row each) is the usual choice.
#
# Needs nvcc and an H200. No package is installed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/pieces.cu" <<'CU'
#include <cstdint>
#include <cstdio>
#include <algorithm>
#include <vector>

constexpr int kRowBytes = 256, kRows = 64, kStages = 3, kThreads = 128;

template <int kHint>
__device__ void copy16(uint32_t to, const char* from) {
  if constexpr (kHint == 128) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(from));
  } else if constexpr (kHint == 256) {
    asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16;" ::"r"(to), "l"(from));
  } else {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from));
  }
}

// Each warp copies 16 of a stage's 64 rows in 8 instructions.
template <bool kWhole, int kHint>
__device__ void copyStage(uint32_t to, const char* from) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int i = 0; i < 8; ++i) {
    int row, byte;
    if (kWhole) {
      row = warp * 16 + i * 2 + lane / 16;
      byte = lane % 16 * 16;
    } else {
      row = warp * 16 + i / 4 * 8 + lane / 4;
      byte = i % 4 * 64 + lane % 4 * 16;
    }
    copy16<kHint>(to + row * kRowBytes + byte, from + (int64_t)row * kRowBytes + byte);
  }
  asm volatile("cp.async.commit_group;");
}

template <bool kWhole, int kHint>
__global__ void __launch_bounds__(kThreads) readAll(const char* from, int64_t stages, float* out) {
  extern __shared__ __align__(128) char shared[];
  const uint32_t base = (uint32_t)__cvta_generic_to_shared(shared);
  constexpr int kStageBytes = kRows * kRowBytes;
  const int64_t first = stages * blockIdx.x / gridDim.x, last = stages * (blockIdx.x + 1) / gridDim.x;
  float sum = 0;
  for (int s = 0; s < kStages - 1; ++s) {
    if (first + s < last) copyStage<kWhole, kHint>(base + s * kStageBytes, from + (first + s) * kStageBytes);
    else asm volatile("cp.async.commit_group;");
  }
  for (int64_t s = first; s < last; ++s) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 2));
    __syncthreads();
    const int64_t next = s + kStages - 1;
    if (next < last) copyStage<kWhole, kHint>(base + (next - first) % kStages * kStageBytes, from + next * kStageBytes);
    else asm volatile("cp.async.commit_group;");
    const float4* now = (const float4*)(shared + (s - first) % kStages * kStageBytes);
    for (int i = threadIdx.x; i < kStageBytes / 16; i += kThreads) sum += now[i].x + now[i].w;
  }
  if (sum == 1234567.0f) out[blockIdx.x] = sum;
}

template <bool kWhole, int kHint>
double rate(const char* from, int64_t bytes, float* out) {
  auto* kernel = readAll<kWhole, kHint>;
  const int shared = kStages * kRows * kRowBytes;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  cudaEvent_t start, end;
  cudaEventCreate(&start);
  cudaEventCreate(&end);
  std::vector<double> seen;
  for (int round = 0; round < 12; ++round) {
    cudaEventRecord(start);
    kernel<<<132 * 4, kThreads, shared>>>(from, bytes / (kRows * kRowBytes), out);
    cudaEventRecord(end);
    cudaEventSynchronize(end);
    float ms = 0;
    cudaEventElapsedTime(&ms, start, end);
    if (round >= 2) seen.push_back(bytes / (ms * 1e6));
  }
  std::sort(seen.begin(), seen.end());
  return seen[seen.size() / 2];
}

int main() {
  cudaDeviceProp properties;
  cudaGetDeviceProperties(&properties, 0);
  const int64_t bytes = int64_t(4) << 30;
  char* from;
  float* out;
  cudaMalloc(&from, bytes);
  cudaMalloc(&out, 4096 * sizeof(float));
  cudaMemset(from, 0, bytes);
  const double whole = rate<true, 0>(from, bytes, out), pieces = rate<false, 0>(from, bytes, out);
  const double hint128 = rate<false, 128>(from, bytes, out), hint256 = rate<false, 256>(from, bytes, out);
  const cudaError_t error = cudaDeviceSynchronize();
  if (error != cudaSuccess) return std::printf("%s\n", cudaGetErrorString(error)), 2;
  std::printf("%s, GB/s: whole rows %.0f, pieces %.0f, pieces with L2::128B %.0f, with L2::256B %.0f\n",
              properties.name, whole, pieces, hint128, hint256);
  const bool same = pieces < 0.93 * whole && hint128 > 0.96 * whole && hint256 < 0.96 * hint128;
  std::printf("%s\n", same ? "as described" : "CHANGED");
  return same ? 0 : 1;
}
CU
nvcc -O3 -std=c++17 -gencode arch=compute_90,code=sm_90 -o "$folder/pieces" "$folder/pieces.cu"
"$folder/pieces"
