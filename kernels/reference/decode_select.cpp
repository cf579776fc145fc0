/*
 * Scalar twin of decode_select: masses in double precision, then the largest tile that is left, again
 * and again.
 */
#include <cmath>

#include "values.h"

namespace sx {
namespace scalar {

namespace {

/* log of the sum of exp over the keys of a tile as their codes stand for them; NaN where one of these
 * logits is NaN or +inf. */
double logit(const sx_decode_select_params& args, int64_t s, int64_t t, int64_t h, int64_t tile) {
  constexpr float levels[4] = {-SX_CODE_FAR, -SX_CODE_NEAR, SX_CODE_NEAR, SX_CODE_FAR};
  const int64_t kv_head = h / (args.q_heads / args.kv_heads), words = args.head_dim / 16;
  const int64_t row = (args.first_row == nullptr ? 0 : args.first_row[s]) / SX_TILE + tile;
  const int64_t at = kv_head * args.mean_head_stride + row * args.head_dim;
  const int32_t* codes = args.codes + kv_head * args.code_head_stride + row * SX_TILE * words;
  const float* q = static_cast<const float*>(args.q) +
                   ((s * args.q_tokens + t) * args.q_heads + h) * args.head_dim;
  double top = -INFINITY, sum = 0, logits[SX_TILE];
  for (int64_t j = 0; j < SX_TILE; j++) {
    double dot = 0;
    for (int64_t d = 0; d < args.head_dim; d++) {
      const uint32_t word = static_cast<uint32_t>(codes[j * words + d / 16]);
      const double key = read_element(args.mean_keys, args.kv_dtype, at + d) +
                         static_cast<double>(read_element(args.spread, args.kv_dtype, at + d)) *
                             static_cast<double>(levels[word >> (2 * (d % 16)) & 3]);
      dot += static_cast<double>(q[d]) * key;
    }
    logits[j] = dot * static_cast<double>(args.scale);
    if (!(logits[j] < INFINITY)) return NAN;
    if (logits[j] > top) top = logits[j];
  }
  if (top == -INFINITY) return top;
  for (const double value : logits) sum += std::exp(value - top);
  return top + std::log(sum);
}

/* Masses of the tiles first..end-1, which are a unit. */
void write_masses(const sx_decode_select_params& args, int64_t s, int64_t kv_head, float* mass,
                  int64_t first, int64_t end) {
  const int64_t group = args.q_heads / args.kv_heads, count = end - first;
  double* logits = new double[count];
  double* sums = new double[count];
  for (int64_t i = 0; i < count; i++) sums[i] = 0;
  for (int64_t t = 0; t < args.q_tokens; t++) {
    for (int64_t h = kv_head * group; h < (kv_head + 1) * group; h++) {
      double top = -INFINITY, total = 0;
      for (int64_t i = 0; i < count; i++) {
        logits[i] = logit(args, s, t, h, first + i);
        if (logits[i] > top) top = logits[i];
      }
      for (int64_t i = 0; i < count; i++) {
        if (logits[i] > -INFINITY) total += std::exp(logits[i] - top);
      }
      for (int64_t i = 0; i < count; i++) {
        if (std::isnan(logits[i])) sums[i] = NAN;
        if (total > 0 && !std::isnan(logits[i])) sums[i] += std::exp(logits[i] - top) / total;
      }
    }
  }
  for (int64_t i = 0; i < count; i++) mass[first + i] = static_cast<float>(sums[i]);
  delete[] logits;
  delete[] sums;
}

/* The tile of the largest mass that is not chosen, or -1. */
int64_t largest(const float* mass, const bool* chosen, int64_t first, int64_t end) {
  int64_t best = -1;
  for (int64_t c = first; c < end; c++) {
    if (!chosen[c] && (best < 0 || mass[c] > mass[best])) best = c;
  }
  return best;
}

void choose(const sx_decode_select_params& args, const float* mass, int64_t first, int64_t end,
            bool* chosen) {
  int64_t count = 0;
  double total = 0, sum = 0;
  for (int64_t c = first; c < end; c++) {
    chosen[c] = std::isnan(mass[c]) || c < args.first_tiles || args.keep >= 1;
    if (chosen[c]) count++;
    if (std::isnan(mass[c])) continue;
    total += mass[c];
    if (c < args.first_tiles) sum += mass[c];
  }
  const double keep = args.keep;
  const double wanted = std::ceil(keep * (1 - std::ldexp(1.0, -20)) * (end - first));
  for (;;) {
    if (args.by_threshold ? !(sum < keep * total) : !(count < wanted)) return;
    const int64_t tile = largest(mass, chosen, first, end);
    if (tile < 0 || (args.by_threshold && !(mass[tile] > 0))) return;
    chosen[tile] = true;
    count++;
    sum += mass[tile];
  }
}

}  // namespace

sx_status decode_select(Context&, const sx_decode_select_params& args) {
  for (int64_t unit = 0; unit < args.sequences * args.kv_heads; unit++) {
    const int64_t s = unit / args.kv_heads, tiles = args.pooled_tiles[s];
    const int64_t step = args.unit_tiles == 0 ? max64(1, tiles) : args.unit_tiles;
    float* mass = args.mass + unit * args.index_stride;
    int32_t* list = args.indices + unit * args.index_stride;
    bool* chosen = new bool[tiles + 1];
    for (int64_t first = 0; first < tiles; first += step) {
      const int64_t end = min64(first + step, tiles);
      write_masses(args, s, unit % args.kv_heads, mass, first, end);
      choose(args, mass, first, end, chosen);
    }
    int32_t count = 0;
    for (int pass = 0; pass < 2; pass++) {
      const bool wanted = pass == 0;
      int32_t at = wanted ? 0 : count;
      for (int64_t c = 0; c < tiles; c++) {
        if (chosen[c] == wanted) list[at++] = static_cast<int32_t>(c);
      }
      if (wanted) count = at;
    }
    args.counts[unit] = count;
    delete[] chosen;
  }
  return SX_OK;
}

}  // namespace scalar
}  // namespace sx
