/*
 * The CPU library's contexts: which instruction sets this machine has, and the one that a context
 * runs.
 */
#include <cpuid.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <new>

#include "backend.h"
#include "int8.h"
#include "thread_pool.h"

namespace sx {
namespace {

#ifdef SX_WITH_SCALAR
/* The tests' library has the scalar twins and nothing else. */
bool has_isa(int32_t) { return false; }

const OpTable* table_of(int32_t isa) { return isa == SX_ISA_SCALAR ? &scalar::ops : nullptr; }

Int8Product int8_product_of(int32_t) { return nullptr; }
#else
/* Whether the processor has the matrix unit and the system lets this process use it: its state of
 * 8 KiB is saved only for processes that asked. */
bool has_tiles() {
  constexpr unsigned kTiles = 1u << 24, kBf16 = 1u << 22, kInt8 = 1u << 25; /* edx of leaf 7 */
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  if ((d & kTiles) == 0 || (d & kBf16) == 0 || (d & kInt8) == 0) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

/* Whether vpdpbusd is there for 256 bits, with AVX2's encoding. */
bool has_avx_vnni() {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 4)) != 0;
}

/* The same for 512 bits. */
bool has_avx512_vnni() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512vnni");
}

/* Whether this machine, its system included, can run a set. */
bool has_isa(int32_t isa) {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16") && has_avx512_vnni();
  if (isa == SX_ISA_AVX2) return avx2;
  if (isa == SX_ISA_AVX512) return avx512;
  if (isa == SX_ISA_AVX512_BF16) return bf16;
  return isa == SX_ISA_AMX_BF16 && bf16 && has_tiles();
}

const OpTable* table_of(int32_t isa) {
  if (!has_isa(isa)) return nullptr;
  if (isa == SX_ISA_AVX2) return &avx2::ops;
  if (isa == SX_ISA_AVX512) return &avx512::ops;
  return isa == SX_ISA_AVX512_BF16 ? &avx512_bf16::ops : &amx_bf16::ops;
}

/* The product with weights of 8 bits. Processors with bf16 all have vpdpbusd; of those with AVX2 or
 * AVX-512 alone some have. */
Int8Product int8_product_of(int32_t isa) {
  if (isa == SX_ISA_AVX2) return has_avx_vnni() ? avx2_vnni::int8_product : avx2::int8_product;
  if (isa == SX_ISA_AVX512) {
    return has_avx512_vnni() ? avx512_vnni::int8_product : avx512::int8_product;
  }
  if (isa == SX_ISA_AVX512_BF16) return avx512_bf16::int8_product;
  return isa == SX_ISA_AMX_BF16 ? amx_bf16::int8_product : nullptr;
}
#endif

/* Pairs of bf16 multiply at twice the rate of f32 on AMD's cores (Zen 4 on) and at about half of it
 * on Intel's, which leave bf16 to their matrix unit: measured 85 against 100 to 150 GFLOP/s. */
bool has_fast_bf16() {
  __builtin_cpu_init();
  return has_isa(SX_ISA_AVX512_BF16) && !__builtin_cpu_is("intel");
}

int32_t best_isa() {
  if (has_isa(SX_ISA_AMX_BF16)) return SX_ISA_AMX_BF16;
  if (has_fast_bf16()) return SX_ISA_AVX512_BF16;
  for (int32_t isa = SX_ISA_AVX512; isa >= SX_ISA_AVX2; isa--) {
    if (has_isa(isa)) return isa;
  }
  return 0;
}

/* Sets whose products of few rows may be faster than those of `isa`: on processors that multiply pairs of
 * bf16 fast, one row's products wait for memory, and how well a set does that differs from core to core.
 * With a matrix unit 16 rows cost what one does, which no other set can do. */
bool may_run_rows(int32_t rows, int32_t isa) {
  return isa == SX_ISA_AVX512_BF16 && rows == SX_ISA_AVX512;
}

const char* isa_name(int32_t isa) {
  if (isa == SX_ISA_AVX2) return "avx2";
  if (isa == SX_ISA_AVX512) return "avx512";
  if (isa == SX_ISA_AVX512_BF16) return "avx512_bf16";
  return isa == SX_ISA_AMX_BF16 ? "amx_bf16" : "";
}

}  // namespace

sx_status close_context(Context& context) {
  destroy_pool(context.pool);
  delete context.ops;
  free_scratch(context);
  return SX_OK;
}

}  // namespace sx

using namespace sx;

sx_status sx_describe(char* out, uint64_t size) {
  if (out == nullptr) return SX_INVALID_ARGUMENT;
  char names[64] = "", rows[64] = "";
  const auto append = [](char(&list)[64], int32_t isa) {
    const size_t used = strlen(list);
    snprintf(list + used, sizeof list - used, "%s\"%s\"", used == 0 ? "" : ",", isa_name(isa));
  };
  for (int32_t isa = SX_ISA_AVX2; isa <= SX_ISA_AMX_BF16; isa++) {
    if (!has_isa(isa)) continue;
    append(names, isa);
    if (may_run_rows(isa, best_isa())) append(rows, isa);
  }
#ifdef SX_WITH_SCALAR
  const char* scalar = "true";
#else
  const char* scalar = "false";
#endif
  char text[256];
  const int length = snprintf(text, sizeof text,
                              "{\"backend\":\"cpu\",\"isa\":[%s],\"best\":\"%s\",\"rows\":[%s],"
                              "\"scalar\":%s}",
                              names, isa_name(best_isa()), rows, scalar);
  if (static_cast<uint64_t>(length) >= size) return SX_INVALID_ARGUMENT;
  memcpy(out, text, length + 1);
  return SX_OK;
}

sx_status sx_context_create(int32_t device, int32_t threads, int32_t isa, uint64_t stream,
                            uint64_t* out) {
  if (device != 0 || stream != 0 || out == nullptr) return SX_INVALID_ARGUMENT;
  if (threads < 1 || threads > 256) return SX_INVALID_ARGUMENT;
  if (isa < SX_ISA_AUTO) return SX_INVALID_ARGUMENT;
  int32_t rows_isa = isa / SX_ISA_ROWS;
  isa %= SX_ISA_ROWS;
  if (isa > SX_ISA_AMX_BF16 || rows_isa > SX_ISA_AMX_BF16) return SX_INVALID_ARGUMENT;
  if (isa == SX_ISA_AUTO) isa = best_isa();
  if (rows_isa == SX_ISA_AUTO) rows_isa = isa;
  const OpTable *ops = table_of(isa), *rows_ops = table_of(rows_isa);
  if (ops == nullptr || rows_ops == nullptr) return SX_UNSUPPORTED;
  Context* context = new (std::nothrow) Context();
  OpTable* own = new (std::nothrow) OpTable(*ops);
  ThreadPool* pool = context == nullptr || own == nullptr ? nullptr : create_pool(threads);
  if (pool == nullptr) {
    delete own;
    delete context;
    return SX_OUT_OF_MEMORY;
  }
  own->matmul_rows = rows_ops->matmul_rows;
  context->pool = pool;
  context->ops = own;
  context->int8_product = int8_product_of(isa);
  context->threads = threads;
  context->isa = isa;
  *out = reinterpret_cast<uint64_t>(context);
  return SX_OK;
}
