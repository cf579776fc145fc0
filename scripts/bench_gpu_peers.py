#!/usr/bin/env python3
"""Times on one GPU what StarX is compared with: PyTorch's matrix products (cuBLAS), its attention
(cuDNN, FlashAttention-2), and the Llama of Hugging Face transformers with random weights.

Prints a line of JSON per measurement. Needs PyTorch with CUDA, and transformers for the model:
python3 scripts/bench_gpu_peers.py --lengths 8192 32768 131072 --decode 8192
"""
import argparse
import json
import statistics
import time

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

# Llama 3.1 8B.
SHAPE = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256,
    "max_position_embeddings": 131072, "rope_theta": 500000.0, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                     "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
}
HEADS, KV_HEADS, HEAD_DIM = 32, 8, 128
PRODUCTS = {"qkv": (6144, 4096), "output": (4096, 4096), "gate and up": (28672, 4096),
            "down": (4096, 14336)}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=16384, help="rows of the matrix products")
    parser.add_argument("--attention", nargs="*", type=int, default=[32768, 131072])
    parser.add_argument("--lengths", nargs="*", type=int, default=[8192, 32768])
    parser.add_argument("--decode", nargs="*", type=int, default=[8192])
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def report(what, **values):
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps({"what": what, **rounded}), flush=True)


def seconds_of(run, repeats, calls=1):
    """The median of some runs of some calls each, after one that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            run()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / calls)
    return statistics.median(times)


def normal(*shape):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def time_products(arguments):
    for name, (n, k) in PRODUCTS.items():
        x, weight = normal(arguments.rows, k), normal(n, k)
        seconds = seconds_of(lambda: torch.nn.functional.linear(x, weight), arguments.repeats, 10)
        report(f"product {name}", rows=arguments.rows, seconds=seconds,
               tflops=2 * arguments.rows * n * k / seconds / 1e12)


def time_attention(arguments):
    for tokens in arguments.attention:
        q = normal(1, HEADS, tokens, HEAD_DIM)
        k, v = normal(1, KV_HEADS, tokens, HEAD_DIM), normal(1, KV_HEADS, tokens, HEAD_DIM)
        flops = 4 * HEADS * HEAD_DIM * tokens * (tokens + 1) / 2
        for backend in (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION):
            def run():
                with sdpa_kernel(backend):
                    torch.nn.functional.scaled_dot_product_attention(
                        q, k, v, is_causal=True, enable_gqa=True)
            try:
                seconds = seconds_of(run, arguments.repeats)
                report(f"attention {backend.name}", tokens=tokens, seconds=seconds,
                       tflops=flops / seconds / 1e12)
            except RuntimeError as error:
                report(f"attention {backend.name}", tokens=tokens, error=str(error)[:200])


@torch.inference_mode()
def time_model(arguments):
    from transformers import LlamaConfig, LlamaForCausalLM
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(LlamaConfig(**SHAPE, attn_implementation="sdpa")).eval()
    torch.set_default_dtype(torch.float32)
    for tokens in arguments.lengths:
        ids = torch.randint(0, SHAPE["vocab_size"], (1, tokens), device="cuda")
        torch.cuda.reset_peak_memory_stats()
        repeats = 1 if tokens > 65536 else arguments.repeats
        seconds = seconds_of(
            lambda: model(input_ids=ids, use_cache=True, logits_to_keep=1), repeats)
        report("prefill", tokens=tokens, seconds=seconds,
               peak_gib=torch.cuda.max_memory_allocated() / 2**30)
    for context in arguments.decode:
        ids = torch.randint(0, SHAPE["vocab_size"], (1, context), device="cuda")
        output = model(input_ids=ids, use_cache=True, logits_to_keep=1)
        times = []
        for _ in range(16):
            torch.cuda.synchronize()
            start = time.perf_counter()
            token = output.logits[:, -1].argmax(-1, keepdim=True)
            output = model(input_ids=token, use_cache=True, past_key_values=output.past_key_values)
            torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        report("decode", context=context, tokens_per_s=1 / statistics.median(times))


def main():
    arguments = parse_arguments()
    report("machine", device=torch.cuda.get_device_name(), torch=torch.__version__,
           cudnn=torch.backends.cudnn.version())
    time_products(arguments)
    time_attention(arguments)
    if arguments.lengths or arguments.decode:
        time_model(arguments)


if __name__ == "__main__":
    main()
