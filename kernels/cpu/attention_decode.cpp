/*
 * Attention of few queries of some sequences, each over its own keys (see sx_attention_decode in
 * ../sx_attention.h).
 *
 * The formula is attention_dense's. Each key head is read once for all T * HQ / HK rows that need
 * it: with up to kFewRows rows straight from the cache by the code below, with more by the packed
 * tiles of attention_dense, a sequence at a time. Behind a window, and where keys have 8 bits, every
 * kFewRows rows read it. Scales of 8 bits meet the logits and the weights, not the keys and values.
 * Accumulates in f32. FLOPs 4*D*T*HQ*N, bytes read 2*N*HK*D*sizeof(kv),
 * at the speed of memory.
 *
 * A unit of work is one key head of a sequence times one split of its keys; the splits depend on the
 * sequence's number of keys alone and attention_parts.h merges them in order. Within a split, tiles of 256 keys: logits by dot
 * products of R rows with four keys at a time, online softmax, then R rows of sums over the values.
 * bf16 is widened without a shuffle: one 32-bit lane holds an even and an odd element, so that
 * queries and sums keep the even elements of a vector pair before the odd ones.
 */
#include "attention_decode.h"

namespace sx {
namespace SX_ISA {

namespace {

struct SequencePlan : SplitPlan {
  int64_t first_key;
};

SequencePlan plan_sequence(const sx_attention_decode_params& args, int64_t sequence) {
  SequencePlan plan = {};
  const int64_t count = args.key_count[sequence];
  plan.first_key = first_visible(args, args.causal ? count - args.q_tokens + 1 : count);
  split_keys(plan, count - plan.first_key);
  return plan;
}

template <class Key, int D>
void run_unit(const sx_attention_decode_params& args, const SequencePlan& plan, int64_t sequence,
              int64_t unit, float* parts) {
  const int64_t groups = row_groups(args);
  const AttentionArgs dense = dense_arguments(args, sequence);
  const int64_t split = unit % plan.splits, rows = unit / plan.splits;
  const int64_t first = plan.first_key + split * plan.split_keys;
  Split<Key, D> keys(args, dense, sequence, rows / groups, rows % groups * kFewRows);
  keys.add_keys(first, min64(first + plan.split_keys, args.key_count[sequence]));
  keys.finish(parts + plan.parts + split * part_floats(args));
}

template <class Key, int D>
sx_status run(Context& context, const sx_attention_decode_params& args) {
  const int64_t plan_bytes = round_up(args.sequences * int64_t{sizeof(SequencePlan)}, 64);
  int64_t floats = 0, units = 0;
  for (int64_t s = 0; s < args.sequences; s++) {
    floats += plan_sequence(args, s).splits * part_floats(args);
  }
  char* memory = static_cast<char*>(scratch(context, plan_bytes + floats * 4));
  if (memory == nullptr) {
    return out_of_scratch(context, "attention_decode", plan_bytes + floats * 4);
  }
  SequencePlan* plans = reinterpret_cast<SequencePlan*>(memory);
  float* parts = reinterpret_cast<float*>(memory + plan_bytes);
  floats = 0;
  for (int64_t s = 0; s < args.sequences; s++) {
    plans[s] = plan_sequence(args, s);
    plans[s].parts = floats;
    plans[s].first_unit = units;
    floats += plans[s].splits * part_floats(args);
    units += plans[s].splits * args.kv_heads * row_groups(args);
  }
  parallel_for(context, units, 1, [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t s = plan_of(plans, args.sequences, unit);
      run_unit<Key, D>(args, plans[s], s, unit - plans[s].first_unit, parts);
    }
  });
  merge_rows<D>(context, args, parts, floats, [&](int64_t s, int64_t) { return plans + s; });
  return SX_OK;
}

}  // namespace

sx_status attention_decode(Context& context, const sx_attention_decode_params& args) {
  if (args.q_tokens == 0 || args.sequences == 0) return SX_OK;
  const bool packs = args.key_scales == nullptr && args.window == 0;
  if (packs && args.q_tokens * (args.q_heads / args.kv_heads) > kFewRows) {
    for (int64_t s = 0; s < args.sequences; s++) {
      const sx_status status = attention_dense(context, dense_arguments(args, s));
      if (status != SX_OK) return status;
    }
    return SX_OK;
  }
  return with_keys(args, [&](auto key, auto dim) {
    return run<std::remove_const_t<std::remove_pointer_t<decltype(key)>>, dim()>(context, args);
  });
}

}  // namespace SX_ISA
}  // namespace sx
