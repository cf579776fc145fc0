// Prints the logits of llama.cpp behind the last of some token ids, for scripts/make_gguf_golden.ts.
//
// Usage: llama_logits BACKENDS FILE F32_FILE ID...
//
// Two lines: the logits of FILE as llama.cpp computes with its types, where activations are rounded to
// the weights' type; then those of F32_FILE, which llama.cpp first makes of FILE with all matrices
// widened to f32. Keys and values are kept in f32.
//
// Built against llama.h of llama.cpp and the libraries of npm's node-llama-cpp:
//   g++ -O1 -I LLAMA/include -I LLAMA/ggml/include scripts/llama_logits.cpp -o llama_logits
//     LIBS/libllama.so LIBS/libggml.so LIBS/libggml-base.so -Wl,-rpath,LIBS
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "llama.h"

static void print_warnings(ggml_log_level level, const char* text, void*) {
  if (level >= GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static bool print_logits(const char* path, std::vector<llama_token> ids) {
  llama_model_params model_params = llama_model_default_params();
  model_params.n_gpu_layers = 0;
  llama_model* model = llama_model_load_from_file(path, model_params);
  if (model == nullptr) return false;
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = static_cast<uint32_t>(ids.size());
  params.type_k = params.type_v = GGML_TYPE_F32;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  llama_context* context = llama_init_from_model(model, params);
  if (context == nullptr) return false;
  llama_batch batch = llama_batch_get_one(ids.data(), static_cast<int32_t>(ids.size()));
  if (llama_decode(context, batch) != 0) return false;
  const float* logits = llama_get_logits_ith(context, -1);
  const int count = llama_vocab_n_tokens(llama_model_get_vocab(model));
  for (int i = 0; i < count; i++) printf("%s%.7g", i == 0 ? "[" : ",", logits[i]);
  printf("]\n");
  llama_free(context);
  llama_model_free(model);
  return true;
}

int main(int count, char** values) {
  if (count < 5) return 2;
  llama_log_set(print_warnings, nullptr);
  ggml_backend_load_all_from_path(values[1]);
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = LLAMA_FTYPE_ALL_F32;
  params.allow_requantize = true;
  if (llama_model_quantize(values[2], values[3], &params) != 0) return 1;
  std::vector<llama_token> ids;
  for (int i = 4; i < count; i++) ids.push_back(atoi(values[i]));
  return print_logits(values[2], ids) && print_logits(values[3], ids) ? 0 : 1;
}
