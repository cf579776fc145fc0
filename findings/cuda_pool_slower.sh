#!/usr/bin/env bash
# CUDA's memory pool, as it comes, is several times slower than cudaMalloc() where each round ends
# with a synchronization.
#
# Versions: CUDA 13.0, driver 580.159, NVIDIA H200.
# Behaviour: cudaFreeAsync() puts memory into the pool, and the next synchronization gives everything
# above the release threshold back to the system. The threshold is 0, so each round maps its memory
# anew, at a higher price than cudaMalloc() and cudaFree(). With a threshold, or without the
# synchronization, an allocation takes microseconds.
# A good engineer would guess: a pool is at worst as slow as what it replaces.
# Output seen, microseconds for an allocation, its release and a synchronization: 4 GiB 3,864 and
# 4,389 by cudaMalloc, 14,309 and 14,340 by the pool, 7 with a threshold; 1 MiB 134 and 108, 1,052 and
# 161, and 7.
# Why it matters: generating a token ends with reading it, a synchronization. Who moves the buffers of
# a step from cudaMalloc() to cudaMallocAsync() makes each token milliseconds slower.
#
# Needs nvcc and a GPU. No package is installed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/pool.cu" <<'CU'
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

/** The median over rounds in microseconds. */
template <typename Round>
double microseconds(Round round) {
  std::vector<double> seen;
  for (int i = 0; i < 12; ++i) {
    const auto start = std::chrono::steady_clock::now();
    round();
    cudaStreamSynchronize(0);
    const std::chrono::duration<double, std::micro> passed = std::chrono::steady_clock::now() - start;
    if (i >= 3) seen.push_back(passed.count());
  }
  std::sort(seen.begin(), seen.end());
  return seen[seen.size() / 2];
}

int main() {
  cudaMemPool_t pool;
  cudaDeviceGetDefaultMemPool(&pool, 0);
  bool same = true;
  for (const size_t bytes : {size_t(1) << 20, size_t(4) << 30}) {
    void* memory;
    const double plain = microseconds([&] { cudaMalloc(&memory, bytes); cudaFree(memory); });
    const auto byPool = [&] { cudaMallocAsync(&memory, bytes, 0); cudaFreeAsync(memory, 0); };
    uint64_t threshold = 0;
    cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold);
    const double pooled = microseconds(byPool);
    threshold = UINT64_MAX;
    cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold);
    const double kept = microseconds(byPool);
    std::printf("%zu MiB, microseconds: cudaMalloc %.0f, pool %.0f, pool with a threshold %.0f\n", bytes >> 20,
                plain, pooled, kept);
    same = same && kept < 0.5 * plain && (bytes < size_t(4) << 30 || pooled > 1.5 * plain);
  }
  const cudaError_t error = cudaDeviceSynchronize();
  if (error != cudaSuccess) return std::printf("%s\n", cudaGetErrorString(error)), 2;
  std::printf("%s\n", same ? "as described" : "CHANGED");
  return same ? 0 : 1;
}
CU
nvcc -O3 -std=c++17 -gencode arch=compute_90,code=sm_90 -o "$folder/pool" "$folder/pool.cu"
"$folder/pool"
