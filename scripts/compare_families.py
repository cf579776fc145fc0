#!/usr/bin/env python3
"""Compares StarX's logits and greedy tokens with Hugging Face transformers' for several families.

Each model has two layers of the shape of a published one, and random weights; transformers writes it
as a folder, which StarX reads. The truth is transformers in float32, from the same bf16 weights; its
own error in bfloat16 is shown beside StarX's. Prints a line of JSON per prompt, then a table, and ends
with 1 if a bound is missed.

Needs PyTorch and transformers, and Deno; no network:  python3 scripts/compare_families.py
"""
import argparse
import copy
import gc
import glob
import json
import os
import shutil
import sys
import tempfile
import time

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from compare_hf import COSINE, answer, cosine, run_starx, same_ids

LAYERS = 2
LLAMA_LIKE = {"hidden_act": "silu", "tie_word_embeddings": False, "num_hidden_layers": LAYERS}


def long_factors(last):
    """48 factors that grow from 1 on; Phi-3.5's own are other numbers of this kind."""
    return [round(last ** (i / 47), 4) for i in range(48)]


# Sizes as in the config.json of each model, in the form of transformers 5.
CONFIGS = {
    # v0.1, which has a window.
    "Mistral-7B": {
        **LLAMA_LIKE, "model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000,
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "sliding_window": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    },
    "Qwen2.5-7B": {
        **LLAMA_LIKE, "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944,
        "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "use_sliding_window": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
    },
    "Qwen3-8B": {
        **LLAMA_LIKE, "model_type": "qwen3", "hidden_size": 4096, "intermediate_size": 12288,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
        "vocab_size": 151936, "max_position_embeddings": 40960, "rms_norm_eps": 1e-6,
        "use_sliding_window": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
    },
    "Phi-3.5-mini": {
        **LLAMA_LIKE, "model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192,
        "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32064,
        "max_position_embeddings": 131072, "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5, "sliding_window": 262144, "pad_token_id": 32000,
        "rope_parameters": {
            "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 1.0,
            "original_max_position_embeddings": 4096,
            "short_factor": long_factors(2.8), "long_factor": long_factors(64.0),
        },
    },
}
# Random prompts of which the reference keeps those whose answers are least nearly tied.
CANDIDATES = 128


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deno", default="deno", help="the Deno executable")
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--models", nargs="+", default=[*CONFIGS], choices=[*CONFIGS])
    parser.add_argument("--short", type=int, default=64, help="tokens of a short prompt")
    parser.add_argument("--prompts", type=int, default=4, help="short prompts")
    parser.add_argument("--long", type=int, default=6000, help="tokens of the long one; 0: none")
    parser.add_argument("--tokens", type=int, default=16, help="greedy tokens per prompt")
    parser.add_argument("--folder", help="where the models go (default: a temporary folder)")
    return parser.parse_args()


def find_libraries():
    """NVIDIA's libraries may have come with PyTorch: StarX is told where they lie."""
    folders = [folder for path in sys.path for folder in glob.glob(path + "/nvidia/*/lib")]
    if folders:
        os.environ.setdefault("STARX_CUDA", ":".join(dict.fromkeys(folders)))


@torch.inference_mode()
def fill(model):
    """Weights of every kind that change the logits; rows of the head differ in size as in trained
    models, so that few tokens are nearly tied."""
    random = torch.Generator(device=model.device).manual_seed(1)
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            weight.normal_(0, 0.3, generator=random)
            if "norm" in name:
                weight.add_(1)
        else:
            inputs = 1 if "embed_tokens" in name else weight.shape[1]
            weight.normal_(0, inputs ** -0.5, generator=random)
    head = model.lm_head.weight
    rows = torch.empty(head.shape[0], 1, dtype=torch.float32, device=head.device)
    head.mul_(rows.normal_(0, 0.5, generator=random).exp_())


def make_model(arguments, name, folder):
    values = dict(CONFIGS[name])
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    with torch.device(arguments.device):
        model = AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16, attn_implementation="sdpa")
    model = model.to(arguments.device).eval()
    fill(model)
    model.save_pretrained(folder)
    del model
    release(arguments)


@torch.inference_mode()
def short_prompts(arguments, model):
    random = torch.Generator().manual_seed(2)
    ids = torch.randint(0, model.config.vocab_size, (CANDIDATES, arguments.short),
                        generator=random)
    step, cache = ids.to(model.device), None
    least = torch.full((CANDIDATES,), float("inf"), device=model.device)
    for _ in range(arguments.tokens):
        output = model(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
        logits, cache = output.logits[:, -1].float(), output.past_key_values
        best = torch.topk(logits, 2)
        least = torch.minimum(least, (best.values[:, 0] - best.values[:, 1]) / logits.std(dim=-1))
        step = best.indices[:, :1]
    chosen = torch.topk(least, arguments.prompts).indices.tolist()
    return [ids[i].tolist() for i in chosen]


def make_prompts(arguments, model):
    all_ids = short_prompts(arguments, model)
    if arguments.long > 0:
        random = torch.Generator().manual_seed(3)
        all_ids.append(torch.randint(0, model.config.vocab_size, (arguments.long,),
                                     generator=random).tolist())
    return [{"ids": ids, "tokens_to_generate": arguments.tokens,
             "top_logits": model.config.vocab_size} for ids in all_ids]


def compare(arguments, name, folder):
    make_model(arguments, name, folder)
    peer = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, attn_implementation="sdpa").to(arguments.device).eval()
    exact = copy.deepcopy(peer).float()
    prompts = make_prompts(arguments, exact)
    answers = [[answer(model, prompt) for prompt in prompts] for model in (exact, peer)]
    del peer, exact
    release(arguments)
    starx = run_starx(arguments, folder, prompts)
    return [judge(name, *parts) for parts in zip(prompts, starx, *answers)]


def release(arguments):
    gc.collect()
    if arguments.device == "cuda":
        torch.cuda.empty_cache()


def errors(found, exact):
    """Root of the mean square, and the largest, in standard deviations of the exact logits."""
    off = (found["logits"] - exact["logits"]) / exact["logits"].std()
    return round(float(off.square().mean().sqrt()), 5), round(float(off.abs().max()), 5)


def judge(name, prompt, own, exact, other):
    """Ids must be equal up to the first step that float32 itself nearly ties."""
    largest = float((own["logits"] - exact["logits"]).abs().max())
    equal, decided = same_ids(own, exact, 2 * largest)
    found = {"model": name, "tokens": len(prompt["ids"]), "ids": len(exact["ids"]),
             "decided_ids": decided,
             "least_lead": round(min(exact["leads"]) / float(exact["logits"].std()), 5)}
    for label, answers in [("", own), ("_transformers_bf16", other)]:
        found["cosine" + label] = round(cosine(answers["logits"], exact["logits"]), 7)
        found["error" + label], found["largest_error" + label] = errors(answers, exact)
        found["equal_ids" + label] = sum(a == b for a, b in zip(answers["ids"], exact["ids"]))
    found["passed"] = equal == decided and found["cosine"] >= COSINE
    print(json.dumps(found), flush=True)
    return found


def print_table(found, seconds):
    heads = ["model", "tokens", "cosine", "(bf16)", "error", "(bf16)", "largest", "(bf16)",
             "equal ids", "(bf16)", "decided", "passed"]
    rows = [heads, ["---"] * len(heads)]
    for line in found:
        row = [line["model"], line["tokens"]]
        for key, form in [("cosine", ".6f"), ("error", ".4f"), ("largest_error", ".4f")]:
            row += [format(line[key], form), format(line[key + "_transformers_bf16"], form)]
        ids = line["ids"]
        row += [f"{line['equal_ids']}/{ids}", f"{line['equal_ids_transformers_bf16']}/{ids}",
                line["decided_ids"], "yes" if line["passed"] else "NO"]
        rows.append(row)
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(heads))]
    print()
    for row in rows:
        print("| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |")
    import transformers
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print("\nErrors of the last logits in their standard deviations, root of the mean square and "
          f"largest, against transformers in float32; (bf16): transformers' own. {where}; torch "
          f"{torch.__version__}; transformers {transformers.__version__}; {LAYERS} layers each; "
          f"{seconds:.0f} s")


def main():
    arguments = parse_arguments()
    find_libraries()
    start = time.monotonic()
    found, failed = [], []
    for name in arguments.models:
        folder = tempfile.mkdtemp(prefix="starx-families-", dir=arguments.folder)
        try:
            found += compare(arguments, name, folder)
        except Exception as error:  # The other models are worth a look all the same.
            failed.append(f"{name}: {type(error).__name__}: {error}")
            print(failed[-1], file=sys.stderr, flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print_table(found, time.monotonic() - start)
    for line in failed:
        print(line)
    return 0 if not failed and all(line["passed"] for line in found) else 1


if __name__ == "__main__":
    sys.exit(main())
