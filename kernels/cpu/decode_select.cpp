/*
 * Chooses the tiles of keys that a decode step reads, by two bits of each number of their keys (see
 * sx_decode_select in ../sx_attention.h).
 *
 * mass[c] = sum over the queries and heads of a key head of their softmax's share of tile c within a
 * unit; then the largest leave a heap. With q' = scale * spread * q, a key's logit is scale * q . mean +
 * the sum of q' times the levels that its codes say, which a shuffle of a vector looks up for up to
 * kRows rows at a time. A unit of work is one key head of a sequence. Logits, softmax and mass in f32,
 * sums of masses in double precision, all in a fixed order. Bytes read ceil(T*HQ/HK / kRows) times D/4
 * a key; FLOPs 2*D*T*HQ a key, about log2(tiles) comparisons for each tile that is chosen.
 */
#include <math.h>

#include "ops.h"
#include "simd.h"
#include "thread_pool.h"
#include "tile_heap.h"

namespace sx {
namespace SX_ISA {

namespace {

/* Rows of queries that meet a key at a time, and the largest head size. */
constexpr int64_t kRows = 4, kMostDim = 128;

/* Working memory of a worker: of kRows rows the largest logit of each tile of a unit, and the sum of
 * 2^(logit - largest), padded to whole vectors; a heap, and marks. */
struct Scratch {
  float* tops;
  float* sums;
  int32_t* heap;
  uint8_t* taken;
  int64_t stride; /* of tops and sums, from row to row */
};

constexpr int64_t scratch_bytes(int64_t tiles) {
  return 2 * kRows * (tiles + 16) * 4 + tiles * 4 + (tiles + 63) / 64 * 64;
}

Scratch scratch_at(char* memory, int64_t tiles) {
  Scratch scratch;
  scratch.stride = tiles + 16;
  scratch.tops = reinterpret_cast<float*>(memory);
  scratch.sums = scratch.tops + kRows * scratch.stride;
  scratch.heap = reinterpret_cast<int32_t*>(scratch.sums + kRows * scratch.stride);
  scratch.taken = reinterpret_cast<uint8_t*>(scratch.heap + tiles);
  return scratch;
}

/* sum over d of q[d] * k[d]. */
template <class Key>
float dot(const float* q, const Key* k, int64_t dim) {
  Vec first = zero(), second = zero();
  for (int64_t d = 0; d < dim; d += 2 * kLanes) {
    first = fma(load(q + d), load(k + d), first);
    second = fma(load(q + d + kLanes), load(k + d + kLanes), second);
  }
  return reduce_add(add(first, second));
}

/* The levels of the next kLanes codes. */
SX_INLINE Vec levels_at(const int32_t* words, int64_t d) {
#ifdef __AVX512F__
  const __m512i shifts =
      _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512 levels =
      _mm512_broadcast_f32x4(_mm_setr_ps(-SX_CODE_FAR, -SX_CODE_NEAR, SX_CODE_NEAR, SX_CODE_FAR));
  const __m512i codes = _mm512_srlv_epi32(_mm512_set1_epi32(words[d / 16]), shifts);
  return _mm512_permutevar_ps(levels, codes);
#else
  const __m256i shifts = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
  const __m256 levels = _mm256_setr_ps(-SX_CODE_FAR, -SX_CODE_NEAR, SX_CODE_NEAR, SX_CODE_FAR,
                                       -SX_CODE_FAR, -SX_CODE_NEAR, SX_CODE_NEAR, SX_CODE_FAR);
  const uint32_t word = static_cast<uint32_t>(words[d / 16]) >> (2 * (d % 16));
  const __m256i codes = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int32_t>(word)), shifts);
  return _mm256_permutevar_ps(levels, codes);
#endif
}

/* Of some rows over one tile: the largest logit in powers of two, and the sum of 2^(logit - largest).
 * Where a logit is NaN or +inf the sum is NaN, and the largest is -inf. */
template <int kCount>
void meet_tile(const float (*factors)[kMostDim], const float* bases, const int32_t* codes,
               int64_t dim, float* tops, float* sums, int64_t stride) {
  float logits[kCount][SX_TILE];
  for (int64_t j = 0; j < SX_TILE; j++) {
    Vec dots[kCount];
    for (Vec& dot : dots) dot = zero();
    for (int64_t d = 0; d < dim; d += kLanes) {
      const Vec levels = levels_at(codes + j * (dim / 16), d);
      for (int r = 0; r < kCount; r++) dots[r] = fma(load(factors[r] + d), levels, dots[r]);
    }
    for (int r = 0; r < kCount; r++) logits[r][j] = bases[r] + reduce_add(dots[r]);
  }
  for (int r = 0; r < kCount; r++) {
    float top = -INFINITY;
    bool is_bad = false;
    for (int64_t j = 0; j < SX_TILE; j++) {
      if (!(logits[r][j] < INFINITY)) is_bad = true;
      top = larger(logits[r][j], top);
    }
    tops[r * stride] = is_bad ? -INFINITY : top;
    sums[r * stride] = is_bad ? NAN : 0;
    if (is_bad || top == -INFINITY) continue;
    Vec sum = zero();
    for (int64_t j = 0; j < SX_TILE; j += kLanes) {
      sum = add(sum, exp2(sub(load(logits[r] + j), broadcast(top))));
    }
    sums[r * stride] = reduce_add(sum);
  }
}

/* Adds the softmax of one row over a unit to the masses of its tiles. */
void add_row(const float* tops, float* sums, int64_t tiles, float* mass) {
  float top = -INFINITY, total = 0;
  for (int64_t c = 0; c < tiles; c++) top = larger(tops[c], top);
  for (int64_t c = 0; c < tiles; c++) {
    if (!(sums[c] == sums[c])) mass[c] = NAN;
  }
  if (top == -INFINITY) return;
  float weights[16];
  for (int64_t c = 0; c < tiles; c += kLanes) {
    const int64_t count = min64(kLanes, tiles - c);
    store(weights, exp2(sub(load(tops + c), broadcast(top))));
    for (int64_t i = 0; i < count; i++) {
      sums[c + i] *= weights[i];
      if (sums[c + i] == sums[c + i]) total += sums[c + i];
    }
  }
  const float factor = 1 / total;
  for (int64_t c = 0; c < tiles; c++) mass[c] += sums[c] * factor;
}

/* What the tiles of a unit have of a key head. */
template <class Key>
struct Unit {
  const Key* means;
  const Key* spread;
  const int32_t* codes;
  int64_t tiles;
};

/* Adds kCount rows of queries, those at q[0..kCount-1]. */
template <int kCount, class Key>
void add_rows(const sx_decode_select_params& args, const float* const* q, const Unit<Key>& unit,
              const Scratch& scratch, float* mass) {
  const int64_t dim = args.head_dim;
  const Vec scale = broadcast(args.scale * 1.44269504088896341f);
  for (int64_t c = 0; c < unit.tiles; c++) {
    float factors[kCount][kMostDim], bases[kCount];
    for (int r = 0; r < kCount; r++) {
      bases[r] = dot(q[r], unit.means + c * dim, dim) * args.scale * 1.44269504088896341f;
      for (int64_t d = 0; d < dim; d += kLanes) {
        store(factors[r] + d, mul(mul(load(q[r] + d), scale), load(unit.spread + c * dim + d)));
      }
    }
    meet_tile<kCount>(factors, bases, unit.codes + c * SX_TILE * (dim / 16), dim, scratch.tops + c,
                      scratch.sums + c, scratch.stride);
  }
  for (int r = 0; r < kCount; r++) {
    const int64_t at = r * scratch.stride;
    add_row(scratch.tops + at, scratch.sums + at, unit.tiles, mass);
  }
}

/* Marks the chosen tiles of the unit first..end-1. */
void choose(const sx_decode_select_params& args, int64_t first, int64_t end, const float* mass,
            const Scratch& scratch) {
  int64_t chosen = 0, size = 0;
  double total = 0, sum = 0;
  for (int64_t c = first; c < end; c++) {
    const bool is_number = mass[c] == mass[c];
    const bool is_first = c < args.first_tiles;
    const bool taken = args.keep >= 1 || !is_number || is_first;
    scratch.taken[c] = taken;
    if (taken) chosen++;
    if (is_number) total += mass[c];
    if (is_number && is_first) sum += mass[c];
    if (!taken && (args.by_threshold == 0 || mass[c] > 0)) {
      scratch.heap[size++] = static_cast<int32_t>(c);
    }
  }
  const double keep = args.keep, tiles = static_cast<double>(end - first);
  const int64_t wanted = static_cast<int64_t>(ceil(keep * (1 - 0x1p-20) * tiles));
  for (int64_t at = size / 2 - 1; at >= 0; at--) sift_down(mass, scratch.heap, at, size);
  while (size > 0 && (args.by_threshold ? sum < keep * total : chosen < wanted)) {
    const int32_t tile = scratch.heap[0];
    scratch.taken[tile] = 1;
    chosen++;
    sum += mass[tile];
    scratch.heap[0] = scratch.heap[--size];
    if (size > 0) sift_down(mass, scratch.heap, 0, size);
  }
}

template <class Key>
void select_head(const sx_decode_select_params& args, int64_t unit, const Scratch& scratch) {
  const int64_t s = unit / args.kv_heads, kv_head = unit % args.kv_heads;
  const int64_t group = args.q_heads / args.kv_heads, tiles = args.pooled_tiles[s];
  const int64_t row = (args.first_row == nullptr ? 0 : args.first_row[s]) / SX_TILE;
  const int64_t at = kv_head * args.mean_head_stride + row * args.head_dim;
  const int64_t words = SX_TILE * (args.head_dim / 16);
  const Unit<Key> all = {static_cast<const Key*>(args.mean_keys) + at,
                         static_cast<const Key*>(args.spread) + at,
                         args.codes + kv_head * args.code_head_stride + row * words, tiles};
  const float* q = static_cast<const float*>(args.q) +
                   (s * args.q_tokens * args.q_heads + kv_head * group) * args.head_dim;
  float* mass = args.mass + unit * args.index_stride;
  const int64_t step = args.unit_tiles == 0 ? max64(1, tiles) : args.unit_tiles;
  for (int64_t c = 0; c < tiles; c++) mass[c] = 0;
  for (int64_t first = 0; first < tiles; first += step) {
    const int64_t end = min64(first + step, tiles);
    const Unit<Key> unit_of = {all.means + first * args.head_dim,
                               all.spread + first * args.head_dim, all.codes + first * words,
                               end - first};
    const int64_t rows = args.q_tokens * group;
    for (int64_t begin = 0; begin < rows; begin += kRows) {
      const float* some[kRows] = {};
      const int64_t count = min64(kRows, rows - begin);
      for (int64_t r = 0; r < count; r++) {
        const int64_t t = (begin + r) / group, g = (begin + r) % group;
        some[r] = q + (t * args.q_heads + g) * args.head_dim;
      }
      if (count == kRows) {
        add_rows<kRows>(args, some, unit_of, scratch, mass + first);
        continue;
      }
      for (int64_t r = 0; r < count; r++) {
        add_rows<1>(args, some + r, unit_of, scratch, mass + first);
      }
    }
    choose(args, first, end, mass, scratch);
  }
  int32_t* list = args.indices + unit * args.index_stride;
  int32_t count = 0;
  for (int64_t c = 0; c < tiles; c++) count += scratch.taken[c];
  int64_t chosen = 0, others = count;
  for (int64_t c = 0; c < tiles; c++) {
    list[scratch.taken[c] ? chosen++ : others++] = static_cast<int32_t>(c);
  }
  args.counts[unit] = count;
}

template <class Key>
sx_status run(Context& context, const sx_decode_select_params& args) {
  int64_t most = 0;
  for (int64_t s = 0; s < args.sequences; s++) most = max64(most, args.pooled_tiles[s]);
  const int64_t bytes = round_up(scratch_bytes(most), 64);
  char* memory = static_cast<char*>(scratch(context, context.threads * bytes));
  if (memory == nullptr) return out_of_scratch(context, "decode_select", context.threads * bytes);
  parallel_for(context, args.sequences * args.kv_heads, 1,
               [&](int64_t begin, int64_t end, int32_t worker) {
                 for (int64_t unit = begin; unit < end; unit++) {
                   select_head<Key>(args, unit, scratch_at(memory + worker * bytes, most));
                 }
               });
  return SX_OK;
}

}  // namespace

sx_status decode_select(Context& context, const sx_decode_select_params& args) {
  if (args.sequences == 0) return SX_OK;
  return args.kv_dtype == SX_BF16 ? run<bf16>(context, args) : run<float>(context, args);
}

}  // namespace SX_ISA
}  // namespace sx
