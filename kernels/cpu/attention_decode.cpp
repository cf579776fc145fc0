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
 * sequence's number of keys alone and attention_parts.h merges them in order. A thread takes neighbouring
 * units, whose keys follow each other, so that the next ones can be asked for while it computes. Within a
 * split, tiles of 256 keys: logits by dot products of R rows with four keys at a time, online softmax, then
 * R rows of sums over the values (attention_decode_sums.h).
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

/* A unit: some rows of a key head of a sequence, and one split of its keys. */
struct Unit {
  const SequencePlan* plan;
  int64_t sequence, kv_head, first_row, split;
  int64_t first_key() const { return plan->first_key + split * plan->split_keys; }
};

Unit unit_at(const sx_attention_decode_params& args, const SequencePlan* plans, int64_t number) {
  Unit unit;
  unit.sequence = plan_of(plans, args.sequences, number);
  unit.plan = plans + unit.sequence;
  const int64_t own = number - unit.plan->first_unit, rows = own / unit.plan->splits;
  unit.split = own % unit.plan->splits;
  unit.kv_head = rows / row_groups(args);
  unit.first_row = rows % row_groups(args) * kFewRows;
  return unit;
}

/* Where the keys of a unit begin. */
template <class Key>
const Key* keys_of(const sx_attention_decode_params& args, const Unit& unit) {
  const int64_t row = args.first_row == nullptr ? 0 : args.first_row[unit.sequence];
  return static_cast<const Key*>(args.keys) + unit.kv_head * args.head_stride +
         (row + unit.first_key()) * args.token_stride;
}

/* `next`: the keys that this thread reads behind those of the unit, or null. */
template <class Key, int D>
void run_unit(const sx_attention_decode_params& args, const Unit& unit, const Key* next,
              float* parts) {
  const SequencePlan& plan = *unit.plan;
  const AttentionArgs dense = dense_arguments(args, unit.sequence);
  const int64_t first = unit.first_key();
  Split<Key, D> rows(args, dense, unit.sequence, unit.kv_head, unit.first_row);
  rows.add_keys(first, min64(first + plan.split_keys, args.key_count[unit.sequence]), next);
  rows.finish(parts + plan.parts + unit.split * part_floats(args));
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
  parallel_for(context, units, Grain(units, 1), [&](int64_t begin, int64_t end, int32_t) {
    Unit unit = unit_at(args, plans, begin);
    for (int64_t number = begin; number < end; number++) {
      const bool is_last = number + 1 == end;
      const Unit behind = is_last ? unit : unit_at(args, plans, number + 1);
      run_unit<Key, D>(args, unit, is_last ? nullptr : keys_of<Key>(args, behind), parts);
      unit = behind;
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
