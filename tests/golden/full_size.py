# The models at full size against PyTorch, with random weights: RAE (an encoder of size B, the XL decoder) and DiT^DH-XL, teacher and
# MeanFlow variant with its derivative; SD-VAE against diffusers' AutoencoderKL; DiT-XL/2, SiT-XL/2 and MeanFlow-XL/2 with its derivative.
# Weights are drawn once into a temporary folder (3.4 GB for DiT^DH), read by both sides, and removed. Case vae needs `pip install diffusers`.
#
#   ninja -C build tests/full_size
#   python3 tests/golden/full_size.py build/tests/full_size [--image-size 256] [--cases rae-dinov2,...] [--folder /tmp]
#
# Prints a table: the largest difference over the largest value, and the norm of the difference over the norm. Of this code and of PyTorch,
# in f32 and in bf16 (blocks, autocast), against PyTorch in f64 from the same f32 weights; and of both in f32 against each other.
import argparse
import math
import pathlib
import subprocess
import tempfile

import torch

import models as m

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
B = dict(width=768, depth=12, heads=12, mlp_width=3072, registers=4)


def encoder_sizes(kind):
    patch, grid = {"dinov2": (14, 37), "siglip2": (16, 16), "mae": (16, 14)}[kind]
    return m.Sizes(kind=kind, patch=patch, grid=grid, eps=1e-12 if kind == "mae" else 1e-6, **B)


def decoder_sizes(side):
    return m.Sizes(channels=768, side=side, width=1152, depth=28, heads=16, mlp_width=4096, patch=16, eps=1e-12)


def dit_sizes(side, mean_flow):
    return m.Sizes(side=side, channels=768, width=1152, depth=28, heads=16, head_width=2048, head_depth=2, head_heads=16, classes=1000,
                   mean_flow=mean_flow)


def drawn(seed, shape, deviation=1.0, mean=0.0):
    return torch.normal(mean, deviation, shape, generator=torch.Generator().manual_seed(seed))


def plain_dit_sizes(side, kind):
    return m.Sizes(side=side, channels=4, out_channels=8 if kind == "dit" else 4, patch=2, width=1152, depth=28, heads=16, classes=1000,
                   mean_flow=kind == "mean-flow")


def weights(tables):
    """By name: products as PyTorch draws them, U(-b, b) with b = 1/sqrt(fan-in), norms and layer scales around their usual value, all else
    N(0, 0.02), modulations included: nothing keeps a value that would hide that it was left out."""
    numbers = {}

    def make(name, shape):
        seed = numbers.setdefault(name, len(numbers) + 1)
        for table, values in tables.items():
            if name.endswith(table):
                return values
        if name.endswith("lambda1"):
            return drawn(seed, shape, 0.1, 0.5)
        if "norm" in name and name.endswith("weight"):
            return drawn(seed, shape, 0.2, 1.0)
        if name.endswith(".W"):
            return drawn(seed, shape)
        if "adaLN" in name or "table" in name or not name.endswith("weight") or "position" in name:
            return drawn(seed, shape, 0.02)
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * bound

    return make


def rae_case(kind, image_size):
    side, c = image_size // 16, encoder_sizes(kind)
    d, prefix = decoder_sizes(side), "encoder.encoder." if kind == "dinov2" else "encoder.model."
    shapes = [(prefix + name, shape) for name, shape in m.encoder_shapes(c)]
    shapes += [("decoder." + name, shape) for name, shape in m.decoder_shapes(d)]
    latent = (768, side, side)
    inputs = {"images": torch.rand((1, 3, image_size, image_size), generator=torch.Generator().manual_seed(1)),
              "var": drawn(2, latent).square() + 0.5, "mean": drawn(3, latent, 0.1), "z": drawn(4, (1, *latent))}

    def compute(w, x):
        encoder, decoder = m.Part(w, prefix), m.Part(w, "decoder.")
        mean, std = ((0.5 * torch.ones(3)).to(MEAN) if kind == "siglip2" else t for t in (MEAN, STD))
        scale = [t.to(x["z"]) for t in (mean, std)]
        stats = (None if kind == "dinov2" else x["mean"], x["var"])
        z = m.rae_encode(encoder, c, x["images"], *scale, c.patch * side, stats)
        decode = lambda z: m.rae_decode(decoder, d, z, *scale, stats)
        return {"latent": z, "decoded": decode(x["z"]), "round trip": decode(z)}

    return shapes, weights({"decoder_pos_embed": m.sin_cos_positions(side, d.width, True)}), inputs, compute


def with_derivative(u, x):
    """u(z, r, t) and its derivative along (v, 0, 1)"""
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        value, derivative = torch.func.jvp(u, (x["x"], x["r"], x["t"]), (x["v"], torch.zeros(1).to(x["r"]), torch.ones(1).to(x["t"])))
    return {"average velocity": value, "derivative": derivative}


def dit_case(mean_flow, image_size):
    side = image_size // 16
    c, latent = dit_sizes(side, mean_flow), (1, 768, side, side)
    inputs = {"x": drawn(1, latent), "v": drawn(2, latent), "r": torch.tensor([0.25]), "t": torch.tensor([0.75]),
              "labels": torch.tensor([207.0])}

    def compute(w, x):
        labels = x["labels"].long()
        if not mean_flow:
            return {"velocity": m.dit(w, c, x["x"], x["t"], labels)}
        return with_derivative(lambda z, r, t: m.dit(w, c, z, t, labels, r), x)

    return m.dit_shapes(c), weights(m.fixed_tables(c)), inputs, compute


def vae_case(image_size):
    """diffusers' own class is the peer, so that names, order and shapes are checked too."""
    import diffusers
    blocks = dict(down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, block_out_channels=[128, 256, 512, 512])
    with torch.device("meta"):
        peer = diffusers.AutoencoderKL(layers_per_block=2, latent_channels=4, sample_size=256, **blocks)
    shapes = [(name, tuple(t.shape)) for name, t in peer.state_dict().items()]
    inputs = {"images": torch.rand((1, 3, image_size, image_size), generator=torch.Generator().manual_seed(1)) * 2 - 1,
              "z": drawn(2, (1, 4, image_size // 8, image_size // 8))}

    def compute(w, x):
        peer.load_state_dict({name: w[name] for name, _ in shapes}, assign=True)
        moments = lambda images: peer.encode(images).latent_dist.parameters
        mean = moments(x["images"])[:, :4]
        return {"moments": moments(x["images"]), "decoded": peer.decode(x["z"]).sample, "round trip": peer.decode(mean).sample}

    return shapes, weights({}), inputs, compute


def plain_dit_case(kind, image_size):
    """DiT's file as published, with the channels of sigma, at a time between 0 and 999; SiT's velocity; MeanFlow's u and du/dt."""
    c, latent = plain_dit_sizes(image_size // 8, kind), (1, 4, image_size // 8, image_size // 8)
    inputs = {"x": drawn(1, latent), "v": drawn(2, latent), "r": torch.tensor([0.25]), "t": torch.tensor([350.0 if kind == "dit" else 0.75]),
              "labels": torch.tensor([207.0])}

    def compute(w, x):
        labels = x["labels"].long()
        if kind != "mean-flow":
            return {"all channels" if kind == "dit" else "velocity": m.plain_dit(w, c, x["x"], x["t"], labels)}
        return with_derivative(lambda z, r, t: m.plain_dit(w, c, z, t, labels, r), x)

    return m.plain_dit_shapes(c), weights({"pos_embed": m.sin_cos_positions(image_size // 16, c.width, False)}), inputs, compute


def cases(image_size):
    plain = {f"{kind}-xl-2": lambda kind=kind: plain_dit_case(kind, image_size) for kind in ("dit", "sit", "mean-flow")}
    return {"vae": lambda: vae_case(image_size), **plain, **{f"rae-{kind}": lambda kind=kind: rae_case(kind, image_size) for kind in m.ENCODERS},
            "dit-teacher": lambda: dit_case(False, image_size), "dit-mean-flow": lambda: dit_case(True, image_size)}


def largest(a, b):
    return ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()


def in_norm(a, b):
    return ((a.double() - b.double()).norm() / b.double().norm()).item()


def compare(name, case, program, folder, image_size):
    shapes, make, inputs, compute = case()
    m.save_safetensors(folder / "weights.safetensors", shapes, make)
    m.save_safetensors(folder / "inputs.safetensors", [(key, tuple(x.shape)) for key, x in inputs.items()], lambda key, _: inputs[key])
    torch_says = {}
    with torch.no_grad():
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            wide = torch.float64 if dtype == torch.float64 else torch.float32
            w = m.FileOfTensors(folder / "weights.safetensors", wide)
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                torch_says[dtype] = compute(w, {key: x.to(wide) for key, x in inputs.items()})
    ours = {}
    for precision in ("f32", "bf16"):
        subprocess.run([program, name, str(image_size), precision, folder], check=True)
        output = m.FileOfTensors(folder / "output.safetensors")
        ours[precision] = {key: output[key].clone() for key in torch_says[torch.float64]}
    for key, want in torch_says[torch.float64].items():
        torch_f32, torch_bf16 = torch_says[torch.float32][key], torch_says[torch.bfloat16][key]
        pairs = ((ours["f32"][key], want), (torch_f32, want), (ours["f32"][key], torch_f32), (ours["bf16"][key], want), (torch_bf16, want))
        cells = [f"{largest(a, b):.1e}, {in_norm(a, b):.1e}" for a, b in pairs]
        print(f"| {name} {image_size} | {key} | {' | '.join(cells)} |", flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--image-size", type=int, default=256)
parser.add_argument("--cases", default="rae-dinov2,rae-siglip2,rae-mae,dit-teacher,dit-mean-flow,vae,dit-xl-2,sit-xl-2,mean-flow-xl-2")
parser.add_argument("--folder", default=None, help="where the temporary folder is made; 4 GB")
options = parser.parse_args()
chosen = cases(options.image_size)
print("| case | output | this code, f32 | PyTorch, f32 | one against the other | this code, bf16 | PyTorch, bf16 |")
print("|---|---|---|---|---|---|---|")
for name in options.cases.split(","):
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        compare(name, chosen[name], options.program, pathlib.Path(folder), options.image_size)
