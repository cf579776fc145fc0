/*
 * How a warp of decode attention (attention_decode.cu) copies 16 keys and values into its queue in shared
 * memory, and the products with queries and weights.
 *
 * Keys, and values transposed, are the factor of 16 rows of the tensor cores' product. A sum over d may
 * run in any order, and so may the rows of a transposed output, so that what a lane needs of a row lies
 * together. Copies are another matter: eight lanes side by side take a whole line of 128 bytes. Where
 * lanes copy what they need themselves, quads of 64 bytes a key and 32 of a value, memory gives 3.33
 * instead of 4.46 TB/s on an H200. The eight chunks of a line are permuted by the number of their row, so
 * that eight lanes that read 16 bytes each meet no bank twice.
 * Codes of 8 bits become bf16, which is exact, on their way to the tensor cores.
 */
#ifndef SX_CUDA_DECODE_PIECES_CUH
#define SX_CUDA_DECODE_PIECES_CUH

#include "codes.cuh"
#include "mma.cuh"

namespace sx {
namespace cuda {
namespace decode {

/* What a lane needs: of the keys lane / 4 and lane / 4 + 8 the elements kKeyRun * (lane % 4).. of each
 * 4 * kKeyRun; of the values of the keys 2q, 2q + 1, 2q + 8, 2q + 9, q = lane % 4, the elements
 * kValueRun * (lane / 4).. of each 8 * kValueRun. kWide: in the order of codes, 16 bytes of which
 * are 16 elements. */
template <class Element, int kDim, bool kWide>
struct Pieces {
  static constexpr int kBytes = static_cast<int>(sizeof(Element));
  static constexpr int kInChunk = 16 / kBytes;
  static constexpr int kKeyRun = kWide ? 16 : 8, kKeyRuns = kDim / (4 * kKeyRun);
  static constexpr int kValueRun = kWide ? kDim / 8 : 8, kValueRuns = kDim / (8 * kValueRun);
  /* Chunks of a run; a value's may be half of one. */
  static constexpr int kKeyParts = kKeyRun / kInChunk;
  static constexpr int kValueParts = (kValueRun + kInChunk - 1) / kInChunk;
  /* Chunks of a row, of 16 keys, and of these and their values: rows lie behind each other. */
  static constexpr int kRowChunks = kDim / kInChunk;
  static constexpr int kKeyChunks = 16 * kRowChunks, kChunks = 2 * kKeyChunks;
  static_assert(kRowChunks == 4 || kRowChunks == 8 || kRowChunks == 16, "what is permuted below");

  /* What the place of a chunk within its line is XORed with, by the line's number: keys are read by four
   * lanes a row, values by two lanes of every second row. */
  __device__ static int key_twist(int line) {
    if (kRowChunks == 4) return 0;
    const int row = kRowChunks == 16 ? line / 2 : line;
    return row % 2 * 4 | row / 2 % 4;
  }
  __device__ static int value_twist(int line) {
    return (kRowChunks == 16 ? line / 4 : kRowChunks == 8 ? line / 2 : line) % 4 * 2;
  }
};

/* 16 bytes from any address. */
__device__ inline uint4 gather(const bf16* from) { return load_raw8(from, false); }
template <class Code>
__device__ inline uint4 gather(const Code* from) {
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(from);
  uint32_t words[4] = {0, 0, 0, 0};
#pragma unroll
  for (int i = 0; i < 16; i++) words[i / 4] |= static_cast<uint32_t>(bytes[i]) << (i % 4 * 8);
  return make_uint4(words[0], words[1], words[2], words[3]);
}

/* Copies 16 bytes. */
template <bool kAligned, class Element>
__device__ inline void fetch(uint4* to, const Element* from, bool valid, uint64_t policy) {
  if (kAligned) {
    copy_stream16<128>(shared_address(to), from, valid, policy);
  } else {
    *to = valid ? gather(from) : make_uint4(0, 0, 0, 0);
  }
}

/* Keys that lie in the order of their numbers. */
struct InOrder {
  __device__ int64_t operator()(int64_t key) const { return key; }
};

/* A warp's copy of the 16 keys and values from `first` on, zeros for those from `end` on. */
template <class P, bool kAligned, class Element, class Rows = InOrder>
__device__ inline void fetch_keys(uint4* to, const Element* keys, const Element* values,
                                  int64_t first, int64_t end, int64_t stride,
                                  Rows row_of = Rows()) {
  const int lane = threadIdx.x % 32;
  const uint64_t policy = evict_first();
  if (first >= end) return;
#pragma unroll
  for (int i = 0; i < P::kKeyChunks / 32; i++) {
    const int at = i * 32 + lane, line = i * 4 + lane / 8;
    const int64_t key = first + at / P::kRowChunks;
    const int64_t from =
        row_of(key < end ? key : first) * stride + at % P::kRowChunks * P::kInChunk;
    fetch<kAligned>(to + (at ^ P::key_twist(line)), keys + from, key < end, policy);
    fetch<kAligned>(to + P::kKeyChunks + (at ^ P::value_twist(line)), values + from, key < end,
                    policy);
  }
}

/* Where a lane's chunk of a key lies, of a value: what depends on the lane, then what is known when
 * compiled, of which the lower three bits are a place in a line. */
template <class P>
__device__ inline int key_chunk(int half, int run, int part) {
  const int lane = threadIdx.x % 32, row = lane / 4;
  const int own = row * P::kRowChunks + lane % 4 * P::kKeyParts;
  const int known = half * 8 * P::kRowChunks + run * 4 * P::kKeyParts + part;
  return (own ^ P::key_twist(row * P::kRowChunks / 8) ^ known % 8) + known / 8 * 8;
}
template <class P>
__device__ inline int value_chunk(int key, int run, int part) {
  const int lane = threadIdx.x % 32, row = lane % 4 * 2;
  const int own = row * P::kRowChunks + lane / 4 * P::kValueRun / P::kInChunk;
  const int known =
      (key % 2 + key / 2 * 8) * P::kRowChunks + run * (8 * P::kValueRun / P::kInChunk) + part;
  return (own ^ P::value_twist(row * P::kRowChunks / 8) ^ known % 8) + known / 8 * 8;
}

/* A lane's copy of one scale of 16 keys, `to` being the lane's: of a quad, the first lane has the scale of
 * the key lane / 4, the second that of the key 8 behind it, the others those of their values. */
__device__ inline void fetch_scale(float* to, const float* key_scales, const float* value_scales,
                                   int64_t first, int64_t end) {
  const int lane = threadIdx.x % 32;
  const int64_t key = first + lane / 4 + lane % 2 * 8;
  const float* from = (lane & 2) == 0 ? key_scales : value_scales;
  copy_async4(shared_address(to), from + (key < end ? key : 0), key < end);
}

/* A lane's elements of a chunk as pairs of bf16. */
__device__ inline void widen_chunk(uint32_t* out, uint4 raw, bf16) {
  out[0] = raw.x, out[1] = raw.y, out[2] = raw.z, out[3] = raw.w;
}
template <class Code>
__device__ inline void widen_chunk(uint32_t* out, uint4 raw, Code code) {
  const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < 8; i++) out[i] = widen_pair(words[i / 2], i % 2, code);
}

/* Element `at` of two values, as they lie in memory, side by side. */
__device__ inline uint32_t pair_of(const uint32_t* first, const uint32_t* second, int at, bf16) {
  return __byte_perm(first[at / 2], second[at / 2], at % 2 == 0 ? 0x5410 : 0x7632);
}
template <class Code>
__device__ inline uint32_t pair_of(const uint32_t* first, const uint32_t* second, int at,
                                   Code code) {
  return widen_two(first[at / 4], second[at / 4], at % 4, code);
}

/* logits[tile] = the keys lane / 4 (the first two) and lane / 4 + 8 by a pair of rows. */
template <class P, class Element, int kTiles, int kWords>
__device__ inline void multiply_keys(float (&logits)[kTiles][4],
                                     const uint4 (&queries)[kTiles][kWords], const uint4* keys,
                                     Element element) {
#pragma unroll
  for (int tile = 0; tile < kTiles; tile++) {
#pragma unroll
    for (int i = 0; i < 4; i++) logits[tile][i] = 0;
  }
#pragma unroll
  for (int run = 0; run < P::kKeyRuns; run++) {
    uint32_t low[P::kKeyRun / 2], high[P::kKeyRun / 2];
#pragma unroll
    for (int part = 0; part < P::kKeyParts; part++) {
      widen_chunk(low + part * P::kInChunk / 2, keys[key_chunk<P>(0, run, part)], element);
      widen_chunk(high + part * P::kInChunk / 2, keys[key_chunk<P>(1, run, part)], element);
    }
#pragma unroll
    for (int i = 0; i < P::kKeyRun / 8; i++) {
      const uint32_t first[4] = {low[4 * i], high[4 * i], low[4 * i + 1], high[4 * i + 1]};
      const uint32_t second[4] = {low[4 * i + 2], high[4 * i + 2], low[4 * i + 3], high[4 * i + 3]};
#pragma unroll
      for (int tile = 0; tile < kTiles; tile++) {
        const uint4& q = queries[tile][run * (P::kKeyRun / 8) + i];
        multiply_add(logits[tile], first, q.x, q.y);
        multiply_add(logits[tile], second, q.z, q.w);
      }
    }
  }
}

/* Transposes 8 x 8 halves of words over the warp: row lane / 4, columns 2 * (lane % 4) and the next. */
__device__ inline uint32_t transpose(uint32_t value) {
  uint32_t out;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(out) : "r"(value));
  return out;
}

/* out += weights * values, the weights being rounded to bf16. */
template <class P, class Element, int kTiles, int kOut>
__device__ inline void multiply_values(float (&out)[kTiles][kOut][4],
                                       const float (&weights)[kTiles][4], const uint4* values,
                                       Element element) {
  uint32_t b[kTiles][2];
#pragma unroll
  for (int tile = 0; tile < kTiles; tile++) {
    b[tile][0] = transpose(pack_bf16(weights[tile][0], weights[tile][1]));
    b[tile][1] = transpose(pack_bf16(weights[tile][2], weights[tile][3]));
  }
#pragma unroll
  for (int run = 0; run < P::kValueRuns; run++) {
    uint32_t words[4][P::kValueParts * 4];
#pragma unroll
    for (int key = 0; key < 4; key++) {
#pragma unroll
      for (int part = 0; part < P::kValueParts; part++) {
        const uint4* from = values + value_chunk<P>(key, run, part);
        if (P::kValueRun < P::kInChunk) {
          const uint2 half = reinterpret_cast<const uint2*>(from)[threadIdx.x / 4 % 2];
          words[key][0] = half.x, words[key][1] = half.y;
          continue;
        }
        const uint4 value = *from;
        words[key][4 * part] = value.x, words[key][4 * part + 1] = value.y;
        words[key][4 * part + 2] = value.z, words[key][4 * part + 3] = value.w;
      }
    }
#pragma unroll
    for (int n = 0; n < P::kValueRun / 2; n++) {
      const uint32_t a[4] = {pair_of(words[0], words[1], 2 * n, element),
                             pair_of(words[0], words[1], 2 * n + 1, element),
                             pair_of(words[2], words[3], 2 * n, element),
                             pair_of(words[2], words[3], 2 * n + 1, element)};
#pragma unroll
      for (int tile = 0; tile < kTiles; tile++) {
        multiply_add(out[tile][run * (P::kValueRun / 2) + n], a, b[tile][0], b[tile][1]);
      }
    }
  }
}

}  // namespace decode
}  // namespace cuda
}  // namespace sx

#endif
