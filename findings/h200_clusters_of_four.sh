#!/usr/bin/env bash
# An H200 of 132 multiprocessors runs 66 clusters of 2 blocks at once, but not 33 of 4.
#
# Versions: CUDA 13.0, NVIDIA H200 (compute capability 9.0), two cards.
# Behaviour: a cluster lies within one group of multiprocessors, and the groups of a card have unequal
# sizes, since some multiprocessors are switched off. What a group has left over takes no cluster.
# With one block per multiprocessor, clusters of 4 reach 120 of the 132, clusters of 8 as well, and of
# 16 112.
# A good engineer would guess: 132 is a multiple of 4, so all of them work; of 8 and 16 four are idle.
# Output seen, blocks at once on both cards: no clusters 132, of 2 132, of 3 117, of 4 120, of 8 120,
# of 16 112.
# Why it matters: kernels that share loads of keys or weights in clusters of 4 give away a tenth of
# the card, and a persistent one that launches 132 / 4 clusters runs its last ones in a second round.
#
# Needs nvcc and an H200. No package is installed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/clusters.cu" <<'CU'
#include <cstdio>

__global__ void work(int* x) {
  extern __shared__ int shared[];
  if (x != nullptr) x[0] = shared[0];
}

/** How many blocks that fill a multiprocessor each run at once, in clusters of so many. */
int blocksAtOnce(int cluster) {
  constexpr int kSharedBytes = 200 * 1024;
  cudaFuncSetAttribute(work, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
  cudaFuncSetAttribute(work, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = cluster;
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  cudaLaunchConfig_t launch{};
  launch.gridDim = dim3(cluster * 1000);
  launch.blockDim = dim3(256);
  launch.dynamicSmemBytes = kSharedBytes;
  launch.attrs = &attribute;
  launch.numAttrs = 1;
  int clusters = 0;
  const cudaError_t error = cudaOccupancyMaxActiveClusters(&clusters, work, &launch);
  if (error != cudaSuccess) std::printf("%s\n", cudaGetErrorString(error));
  return clusters * cluster;
}

int main() {
  int count = 0;
  cudaGetDeviceCount(&count);
  bool same = count > 0;
  for (int device = 0; device < count; ++device) {
    cudaSetDevice(device);
    cudaDeviceProp properties;
    cudaGetDeviceProperties(&properties, device);
    const int all = properties.multiProcessorCount;
    std::printf("%s, %d multiprocessors, blocks at once:", properties.name, all);
    for (int cluster : {1, 2, 3, 4, 8, 16}) std::printf(" clusters of %d: %d;", cluster, blocksAtOnce(cluster));
    std::printf("\n");
    same = same && all == 132 && blocksAtOnce(1) == all && blocksAtOnce(2) == all && blocksAtOnce(4) < all &&
           blocksAtOnce(16) < 128;
  }
  std::printf("%s\n", same ? "as described" : "CHANGED");
  return same ? 0 : 1;
}
CU
nvcc -O3 -std=c++17 -gencode arch=compute_90,code=sm_90 -o "$folder/clusters" "$folder/clusters.cu"
"$folder/clusters"
