#!/usr/bin/env python3
"""Compares StarX's logits and greedy tokens with Hugging Face transformers' on one device.

Random models are written by scripts/make_model.ts and read by both: the shape of Llama 3.2 1B (llama3
rope scaling, tied embeddings), and four layers of Llama 3.1 8B. The truth is transformers in float32;
its own error in bfloat16 is shown beside StarX's. Prints a line of JSON per prompt, then a summary, and
ends with 1 if a bound is missed.

Needs PyTorch and transformers, and Deno:  python3 scripts/compare_hf.py --deno deno --device cuda
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

import torch
from transformers import AutoConfig, AutoModelForCausalLM

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODELS = {"llama-3.2-1b": [], "llama-3.1-8b": ["--layers", "4"]}
TRAINED = "starx-tiny"
# The least cosine between all logits of a position.
COSINE = 0.999


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deno", default="deno", help="the Deno executable")
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--models", nargs="+", default=[*MODELS, TRAINED],
                        choices=[*MODELS, TRAINED, "small"])
    parser.add_argument("--lengths", nargs="+", type=int, default=[64, 4096])
    parser.add_argument("--tokens", type=int, default=32, help="greedy tokens per short prompt")
    parser.add_argument("--folder", help="where the models go (default: a temporary folder)")
    return parser.parse_args()


def deno(arguments, *command):
    subprocess.run([arguments.deno, "run", "-A", *command], check=True, cwd=ROOT)


def make_prompts(arguments, name, vocabulary):
    """A prompt per length for the logits; the shortest ones are continued, too."""
    if name == TRAINED:
        return reference_prompts(arguments, vocabulary)
    random = torch.Generator().manual_seed(1)
    prompts = []
    for length in arguments.lengths:
        for _ in range(3 if length <= 512 else 1):
            ids = torch.randint(0, vocabulary, (length,), generator=random).tolist()
            tokens = arguments.tokens if length <= 512 else 1
            prompts.append({"ids": ids, "tokens_to_generate": tokens, "top_logits": vocabulary})
    return prompts


def reference_prompts(arguments, vocabulary):
    with open(os.path.join(ROOT, "tests", "golden", "attention.json")) as file:
        entries = json.load(file)
    return [{"ids": entry["context_ids"] + entry["query_ids"],
             "tokens_to_generate": arguments.tokens, "top_logits": vocabulary} for entry in entries]


def run_starx(arguments, folder, prompts):
    with tempfile.TemporaryDirectory(prefix="starx-hf-", dir=arguments.folder) as exchange:
        source = os.path.join(exchange, "prompts.json")
        target = os.path.join(exchange, "answers.json")
        with open(source, "w") as file:
            json.dump(prompts, file)
        deno(arguments, "scripts/logits.ts", "--model_path", folder, "--input", source,
             "--output", target, "--device", arguments.device)
        with open(target) as file:
            answers = json.load(file)
    for entry in answers:
        tokens, values = zip(*entry["logits"])
        logits = torch.empty(len(values))
        logits[torch.tensor(tokens)] = torch.tensor(values)
        entry["logits"] = logits
    return answers


@torch.inference_mode()
def answer(model, prompt):
    """Logits behind a prompt, greedy ids, and by how much each id led."""
    ids = torch.tensor([prompt["ids"]], device=model.device)
    output = model(input_ids=ids, use_cache=True, logits_to_keep=1)
    first, chosen, leads = None, [], []
    while True:
        logits = output.logits[0, -1].float()
        first = logits.cpu() if first is None else first
        best = torch.topk(logits, 2)
        chosen.append(int(best.indices[0]))
        leads.append(float(best.values[0] - best.values[1]))
        if len(chosen) == prompt["tokens_to_generate"]:
            return {"ids": chosen, "leads": leads, "logits": first}
        output = model(input_ids=best.indices[:1][None], use_cache=True,
                       past_key_values=output.past_key_values)


def run_transformers(arguments, folder, prompts, dtype):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
    model = model.to(arguments.device).eval()
    answers = [answer(model, prompt) for prompt in prompts]
    del model
    if arguments.device == "cuda":
        torch.cuda.empty_cache()
    return answers


def cosine(a, b):
    return float(torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0))


def same_ids(found, truth, bound):
    """Steps that agree, and how many can be told: up to the first that float32 itself nearly ties."""
    safe = next((i for i, lead in enumerate(truth["leads"]) if lead <= bound), len(truth["leads"]))
    equal = 0
    while equal < safe and found["ids"][equal] == truth["ids"][equal]:
        equal += 1
    return equal, safe


def compare(arguments, name, folder):
    config = AutoConfig.from_pretrained(folder)
    prompts = make_prompts(arguments, name, config.vocab_size)
    starx = run_starx(arguments, folder, prompts)
    truth = run_transformers(arguments, folder, prompts, torch.float32)
    peer = run_transformers(arguments, folder, prompts, torch.bfloat16)
    passed = True
    for prompt, own, exact, other in zip(prompts, starx, truth, peer):
        error = float((own["logits"] - exact["logits"]).abs().max())
        bound = 2 * error
        equal, safe = same_ids(own, exact, bound)
        lead = exact["leads"][0]
        same_first = own["ids"][0] == exact["ids"][0]
        good = (cosine(own["logits"], exact["logits"]) >= COSINE and equal == safe
                and (same_first or lead <= bound))
        passed = passed and good
        print(json.dumps({
            "model": name,
            "tokens": len(prompt["ids"]),
            "cosine": round(cosine(own["logits"], exact["logits"]), 7),
            "cosine_transformers_bf16": round(cosine(other["logits"], exact["logits"]), 7),
            "largest_error": round(error, 5),
            "largest_error_transformers_bf16":
                round(float((other["logits"] - exact["logits"]).abs().max()), 5),
            "same_top_1": same_first,
            "lead": round(lead, 5),
            "equal_ids": equal,
            "safe_ids": safe,
            "passed": good,
        }), flush=True)
    return passed, str(getattr(config, "rope_parameters", None) or config.rope_scaling)


def main():
    arguments = parse_arguments()
    passed, ropes = True, {}
    for name in arguments.models:
        if name == TRAINED:
            good, ropes[name] = compare(arguments, name, os.path.join(ROOT, "models", TRAINED))
            passed = passed and good
            continue
        folder = tempfile.mkdtemp(prefix="starx-hf-", dir=arguments.folder)
        try:
            deno(arguments, "scripts/make_model.ts", "--output", folder, "--shape", name,
                 *MODELS.get(name, []))
            good, ropes[name] = compare(arguments, name, folder)
            passed = passed and good
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    import transformers
    print(json.dumps({
        "passed": passed,
        "device": torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "rope": ropes,
    }))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
