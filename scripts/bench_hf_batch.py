#!/usr/bin/env python3
"""Times generate() of Hugging Face transformers on one GPU: the shape of Llama 3.1 8B with random
weights, batches of prompts of one length, 128 tokens behind each. What `starx bench --batch_size` is
compared with.

Prints a line of JSON per measurement. Needs PyTorch with CUDA, and transformers:
python3 scripts/bench_hf_batch.py --run 4096x32 --run 8192x8 --run 8192x16 --static 8192x8
"""
import argparse
import gc
import json
import statistics
import time

import torch

from bench_gpu_peers import SHAPE


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", action="append", default=[], metavar="TOKENSxBATCH",
                        help="with the cache that grows; may be given again and again")
    parser.add_argument("--static", action="append", default=[], metavar="TOKENSxBATCH",
                        help="with cache_implementation='static', whose steps are compiled")
    parser.add_argument("--new_tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--attention", default="sdpa", help="attn_implementation")
    return parser.parse_args()


def report(what, **values):
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps({"what": what, **rounded}), flush=True)


def sizes_of(text):
    tokens, batch = text.split("x")
    return int(tokens), int(batch)


@torch.inference_mode()
def seconds_of(model, ids, new_tokens, cache):
    """Seconds of one call, all tokens of all prompts included."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    output = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
        min_new_tokens=new_tokens, max_new_tokens=new_tokens, pad_token_id=0,
        **({} if cache is None else {"cache_implementation": cache}))
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    assert output.shape[1] == ids.shape[1] + new_tokens, output.shape
    return seconds


def time_batch(model, text, cache, arguments):
    tokens, batch = sizes_of(text)
    generator = torch.Generator(device="cuda").manual_seed(1)
    ids = torch.randint(0, SHAPE["vocab_size"], (batch, tokens), device="cuda",
                        generator=generator)
    known = {"tokens": tokens, "batch": batch, "new_tokens": arguments.new_tokens,
             "cache": cache or "dynamic"}
    torch.cuda.reset_peak_memory_stats()
    try:
        # The first call compiles, and fills the allocator's pools.
        for _ in range(1 if cache is None else 2):
            seconds_of(model, ids, arguments.new_tokens, cache)
        whole = [seconds_of(model, ids, arguments.new_tokens, cache)
                 for _ in range(arguments.repeats)]
        # A call for one token is the prefill: the rest is steps.
        short = [seconds_of(model, ids, 1, cache) for _ in range(arguments.repeats)]
    except torch.OutOfMemoryError as error:
        report("generate", **known, error=str(error)[:120])
        return
    seconds, prefill = statistics.median(whole), statistics.median(short)
    report("generate", **known, seconds_per_sample=seconds / batch,
           prefill_seconds_per_sample=prefill / batch,
           ms_per_step=1000 * (seconds - prefill) / (arguments.new_tokens - 1),
           seconds=whole, peak_gib=torch.cuda.max_memory_allocated() / 2**30)


def main():
    arguments = parse_arguments()
    import transformers
    from transformers import LlamaConfig, LlamaForCausalLM
    report("machine", device=torch.cuda.get_device_name(), torch=torch.__version__,
           transformers=transformers.__version__, attention=arguments.attention)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        config = LlamaConfig(**SHAPE, attn_implementation=arguments.attention)
        model = LlamaForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    for cache, runs in ((None, arguments.run), ("static", arguments.static)):
        for text in runs:
            time_batch(model, text, cache, arguments)
            gc.collect()
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
