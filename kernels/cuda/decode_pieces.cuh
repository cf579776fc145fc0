/*
 * What a lane has of 16 keys and values of decode attention (attention_decode.cu): its copies into a
 * queue of its own, and the products with queries and weights.
 *
 * Keys, and values transposed, are the factor of 16 rows of the tensor cores' product. A sum over d may
 * run in any order, and so may the rows of a transposed output: a lane needs just the bytes that it
 * copies itself. Codes of 8 bits become bf16, which is exact, on their way to the tensor cores.
 */
#ifndef SX_CUDA_DECODE_PIECES_CUH
#define SX_CUDA_DECODE_PIECES_CUH

#include "codes.cuh"
#include "mma.cuh"

namespace sx {
namespace cuda {
namespace decode {

/* How a lane's elements lie: of the keys lane / 4 and lane / 4 + 8 the elements kKeyRun * (lane % 4)..
 * of each 4 * kKeyRun; of the values of the keys 2q, 2q + 1, 2q + 8, 2q + 9, q = lane % 4, the elements
 * kValueRun * (lane / 4).. of each 8 * kValueRun. kWide: in the order of codes, 16 bytes of which
 * are 16 elements. */
template <class Element, int kDim, bool kWide>
struct Pieces {
  static constexpr int kBytes = static_cast<int>(sizeof(Element));
  static constexpr int kKeyRun = kWide ? 16 : 8, kKeyRuns = kDim / (4 * kKeyRun);
  static constexpr int kValueRun = kWide ? kDim / 8 : 8, kValueRuns = kDim / (8 * kValueRun);
  /* Copies of a run; those of a value may be of 8 bytes. */
  static constexpr int kKeyParts = kKeyRun * kBytes / 16;
  static constexpr int kValueParts = (kValueRun * kBytes + 15) / 16;
  static constexpr int kValueBytes = kValueRun * kBytes / kValueParts;
  /* Places of 16 bytes: [2][kKeyRuns][kKeyParts] of keys, [kValueRuns][4][kValueParts] of values. */
  static constexpr int kKeyCount = 2 * kKeyRuns * kKeyParts;
  static constexpr int kCount = kKeyCount + 4 * kValueRuns * kValueParts;
};

/* Elements in 16 bytes. */
template <class Element>
constexpr int kInPiece = 16 / static_cast<int>(sizeof(Element));

template <int kBytes>
__device__ inline uint4 gather(const bf16* from) {
  static_assert(kBytes == 16, "eight elements");
  return load_raw8(from, false);
}
template <int kBytes, class Code>
__device__ inline uint4 gather(const Code* from) {
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(from);
  uint32_t words[4] = {0, 0, 0, 0};
#pragma unroll
  for (int i = 0; i < kBytes; i++) {
    words[i / 4] |= static_cast<uint32_t>(bytes[i]) << (i % 4 * 8);
  }
  return make_uint4(words[0], words[1], words[2], words[3]);
}

/* Copies 8 or 16 bytes a lane to the lane's own place. */
template <bool kAligned, int kBytes, class Element>
__device__ inline void fetch(uint4* to, const Element* from, bool valid, uint64_t policy) {
  if (!kAligned) {
    *to = valid ? gather<kBytes>(from) : make_uint4(0, 0, 0, 0);
  } else if (kBytes == 16) {
    copy_stream16<128>(shared_address(to), from, valid, policy);
  } else {
    copy_stream8(shared_address(to), from, valid, policy);
  }
}

/* Keys that lie in the order of their numbers. */
struct InOrder {
  __device__ int64_t operator()(int64_t key) const { return key; }
};

/* Copies a lane's pieces of the 16 keys and values from `first` on, zeros for those from `end` on. */
template <class P, bool kAligned, class Element, class Rows = InOrder>
__device__ inline void fetch_keys(uint4* to, const Element* keys, const Element* values,
                                  int64_t first, int64_t end, int64_t stride,
                                  Rows row_of = Rows()) {
  const int lane = threadIdx.x % 32;
  const uint64_t policy = evict_first();
  if (first >= end) return;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int64_t key = first + half * 8 + lane / 4;
    const Element* from = keys + row_of(key < end ? key : first) * stride + lane % 4 * P::kKeyRun;
#pragma unroll
    for (int i = 0; i < P::kKeyRuns * P::kKeyParts; i++, to += 32) {
      const int at = i / P::kKeyParts * (4 * P::kKeyRun) + i % P::kKeyParts * kInPiece<Element>;
      fetch<kAligned, 16>(to, from + at, key < end, policy);
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int64_t key = first + lane % 4 * 2 + i % 2 + i / 2 * 8;
    const Element* from =
        values + row_of(key < end ? key : first) * stride + lane / 4 * P::kValueRun;
#pragma unroll
    for (int run = 0; run < P::kValueRuns; run++) {
#pragma unroll
      for (int part = 0; part < P::kValueParts; part++) {
        fetch<kAligned, P::kValueBytes>(to + ((run * 4 + i) * P::kValueParts + part) * 32,
                                        from + run * (8 * P::kValueRun) + part * kInPiece<Element>,
                                        key < end, policy);
      }
    }
  }
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

/* A lane's elements of a run as pairs of bf16. */
template <int kPairs>
__device__ inline void widen_run(uint32_t (&out)[kPairs], const uint4* pieces, bf16) {
#pragma unroll
  for (int i = 0; i < kPairs / 4; i++) {
    const uint4 raw = pieces[i * 32];
    out[4 * i] = raw.x, out[4 * i + 1] = raw.y, out[4 * i + 2] = raw.z, out[4 * i + 3] = raw.w;
  }
}
template <int kPairs, class Code>
__device__ inline void widen_run(uint32_t (&out)[kPairs], const uint4* pieces, Code code) {
  static_assert(kPairs == 8, "16 codes");
  const uint4 raw = pieces[0];
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
                                     const uint4 (&queries)[kTiles][kWords], const uint4* pieces,
                                     Element element) {
#pragma unroll
  for (int tile = 0; tile < kTiles; tile++) {
#pragma unroll
    for (int i = 0; i < 4; i++) logits[tile][i] = 0;
  }
#pragma unroll
  for (int run = 0; run < P::kKeyRuns; run++) {
    uint32_t low[P::kKeyRun / 2], high[P::kKeyRun / 2];
    widen_run(low, pieces + run * P::kKeyParts * 32, element);
    widen_run(high, pieces + (P::kKeyRuns + run) * P::kKeyParts * 32, element);
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
                                       const float (&weights)[kTiles][4], const uint4* pieces,
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
        const uint4 value = pieces[((run * 4 + key) * P::kValueParts + part) * 32];
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
