/*
 * Clusters of blocks, which run at one time and read each other's shared memory (from compute capability
 * 9.0 on; elsewhere nothing here does anything).
 */
#ifndef SX_CUDA_CLUSTER_CUH
#define SX_CUDA_CLUSTER_CUH

#include <stdint.h>

namespace sx {
namespace cuda {

__device__ inline uint32_t rank_in_cluster() {
  uint32_t rank = 0;
#if __CUDA_ARCH__ >= 900
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
  return rank;
}
/* The two halves of a barrier of all threads of a cluster. */
__device__ inline void arrive_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
__device__ inline void wait_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
/* The place of an address of shared memory in another block of the cluster, and what lies there. */
__device__ inline uint32_t place_in_block(uint32_t address, uint32_t block) {
  uint32_t place = 0;
#if __CUDA_ARCH__ >= 900
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(place) : "r"(address), "r"(block));
#endif
  return place;
}
__device__ inline float load_from_block(uint32_t place) {
  float value = 0;
#if __CUDA_ARCH__ >= 900
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(place) : "memory");
#endif
  return value;
}

}  // namespace cuda
}  // namespace sx

#endif
