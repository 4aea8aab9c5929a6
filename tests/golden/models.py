# RAE's encoders and decoder, DiT^DH and DiT as plain functions of a dictionary of weights, written from their description (shapes, names and
# equations; sources beside each) with PyTorch's own operations: what make_models.py and full_size.py compare the C++ models with.
# Every model is a list of (name, shape) in the order of its published state dictionary, and a function of (weights, sizes, inputs).
import json
import math
from types import SimpleNamespace as Sizes

import torch
import torch.nn.functional as F


def linear(w, name, x):
    return F.linear(x, w[name + ".weight"], w[name + ".bias"])


def layer_norm(w, name, x, eps):
    affine = [w[name + part] if name + part in w else None for part in (".weight", ".bias")]
    return F.layer_norm(x, x.shape[-1:], *affine, eps)


def attend(q, k, v, heads):
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def linear_shapes(name, rows, columns):
    return [(name + ".weight", (rows, columns)), (name + ".bias", (rows,))]


def norm_shapes(name, width):
    return [(name + ".weight", (width,)), (name + ".bias", (width,))]


def sin_cos_positions(side, width, cls_row):
    """MAE's 2-D table, (1, [1+] side^2, width): half of the channels say the column, half the row, each as sines, then cosines."""
    omega = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.outer(torch.arange(side, dtype=torch.float64), omega)
    one = torch.cat([angles.sin(), angles.cos()], 1)                                          # (side, width / 2)
    columns, rows = one[None].expand(side, side, -1), one[:, None].expand(side, side, -1)
    table = torch.cat([columns, rows], -1).flatten(0, 1)
    return F.pad(table, (0, 0, 1 if cls_row else 0, 0))[None].float()


# ---- encoders (Dinov2WithRegistersModel, SiglipVisionTransformer, ViTMAEModel of Hugging Face; RAE takes the patch tokens) ---------------

ENCODERS = {
    "dinov2": Sizes(norms=("norm1", "norm2"), layers="encoder.layer", antialias=True, gelu="none",
                    patch="embeddings.patch_embeddings.projection"),
    "siglip2": Sizes(norms=("layer_norm1", "layer_norm2"), layers="encoder.layers", antialias=False, gelu="tanh",
                     patch="embeddings.patch_embedding"),
    "mae": Sizes(norms=("layernorm_before", "layernorm_after"), layers="encoder.layer", antialias=False, gelu="none",
                 patch="embeddings.patch_embeddings.projection"),
}


def hf_attention_shapes(name, d):
    parts = ("attention.query", "attention.key", "attention.value", "output.dense")
    return [s for part in parts for s in linear_shapes(f"{name}.{part}", d, d)]


def hf_vit_layer_shapes(name, d, hidden):
    return (hf_attention_shapes(name + ".attention", d) + linear_shapes(name + ".intermediate.dense", hidden, d)
            + linear_shapes(name + ".output.dense", d, hidden) + norm_shapes(name + ".layernorm_before", d)
            + norm_shapes(name + ".layernorm_after", d))


def encoder_layer_shapes(c, name):
    d, hidden = c.width, c.mlp_width
    mlp = linear_shapes(name + ".mlp.fc1", hidden, d) + linear_shapes(name + ".mlp.fc2", d, hidden)
    if c.kind == "mae":
        return hf_vit_layer_shapes(name, d, hidden)
    if c.kind == "siglip2":
        attention = [s for part in ("k", "v", "q", "out") for s in linear_shapes(f"{name}.self_attn.{part}_proj", d, d)]
        return norm_shapes(name + ".layer_norm1", d) + attention + norm_shapes(name + ".layer_norm2", d) + mlp
    return (norm_shapes(name + ".norm1", d) + hf_attention_shapes(name + ".attention", d) + [(name + ".layer_scale1.lambda1", (d,))]
            + norm_shapes(name + ".norm2", d) + mlp + [(name + ".layer_scale2.lambda1", (d,))])


def encoder_shapes(c):
    kind, d, n = ENCODERS[c.kind], c.width, c.grid**2
    patch = [(kind.patch + ".weight", (d, 3, c.patch, c.patch)), (kind.patch + ".bias", (d,))]
    if c.kind == "siglip2":
        shapes = patch + [("embeddings.position_embedding.weight", (n, d))]
    elif c.kind == "mae":
        shapes = [("embeddings.cls_token", (1, 1, d)), ("embeddings.position_embeddings", (1, n + 1, d))] + patch
    else:
        shapes = [("embeddings.cls_token", (1, 1, d)), ("embeddings.mask_token", (1, d)),
                  ("embeddings.register_tokens", (1, c.registers, d)), ("embeddings.position_embeddings", (1, n + 1, d))] + patch
    return shapes + [s for i in range(c.depth) for s in encoder_layer_shapes(c, f"{kind.layers}.{i}")]


def resized_grid(grid, rows, columns, antialias):
    """(1, g^2, D) -> (1, rows columns, D)"""
    side = math.isqrt(grid.shape[1])
    if (rows, columns) == (side, side):
        return grid
    planes = grid.transpose(1, 2).unflatten(2, (side, side))
    return F.interpolate(planes, size=(rows, columns), mode="bicubic", align_corners=False, antialias=antialias).flatten(2).transpose(1, 2)


def encoder_layer(w, c, name, x):
    kind = ENCODERS[c.kind]
    y = layer_norm(w, f"{name}.{kind.norms[0]}", x, c.eps)
    if c.kind == "siglip2":
        y = attend(*(linear(w, f"{name}.self_attn.{p}_proj", y) for p in "qkv"), c.heads)
        y = linear(w, name + ".self_attn.out_proj", y)
    else:
        y = attend(*(linear(w, f"{name}.attention.attention.{p}", y) for p in ("query", "key", "value")), c.heads)
        y = linear(w, name + ".attention.output.dense", y)
    x = x + (y * w[name + ".layer_scale1.lambda1"] if c.kind == "dinov2" else y)
    y = layer_norm(w, f"{name}.{kind.norms[1]}", x, c.eps)
    first, second = (".intermediate.dense", ".output.dense") if c.kind == "mae" else (".mlp.fc1", ".mlp.fc2")
    y = linear(w, name + second, F.gelu(linear(w, name + first, y), approximate=kind.gelu))
    return x + (y * w[name + ".layer_scale2.lambda1"] if c.kind == "dinov2" else y)


def encode(w, c, images):
    """Normalised images (B,3,H,W) -> patch tokens (B,N,D); the last norm has neither weight nor bias, as in RAE."""
    kind = ENCODERS[c.kind]
    maps = F.conv2d(images, w[kind.patch + ".weight"], w[kind.patch + ".bias"], stride=c.patch)
    x = maps.flatten(2).transpose(1, 2)
    if c.kind == "siglip2":
        x = x + resized_grid(w["embeddings.position_embedding.weight"][None], *maps.shape[2:], kind.antialias)
        extra = 0
    else:
        table = w["embeddings.position_embeddings"]
        x = x + resized_grid(table[:, 1:], *maps.shape[2:], kind.antialias)
        front = [(w["embeddings.cls_token"] + table[:, :1]).expand(len(x), -1, -1)]
        if c.kind == "dinov2":
            front.append(w["embeddings.register_tokens"].expand(len(x), -1, -1))
        x = torch.cat(front + [x], 1)
        extra = x.shape[1] - maps.shape[2] * maps.shape[3]
    for i in range(c.depth):
        x = encoder_layer(w, c, f"{kind.layers}.{i}", x)
    return layer_norm(w, "no affine", x, c.eps)[:, extra:]


# ---- RAE's decoder (GeneralDecoder) and the round trip -----------------------------------------------------------------------------------


def decoder_shapes(c):
    d, n = c.width, c.side**2
    shapes = [("decoder_pos_embed", (1, n + 1, d)), ("trainable_cls_token", (1, 1, d))] + linear_shapes("decoder_embed", d, c.channels)
    for i in range(c.depth):
        shapes += hf_vit_layer_shapes(f"decoder_layers.{i}", d, c.mlp_width)
    return shapes + norm_shapes("decoder_norm", d) + linear_shapes("decoder_pred", 3 * c.patch**2, d)


def decode(w, c, tokens):
    """Latent tokens (B,N,C) -> images (B,3,S,S), not yet scaled by the encoder's mean and deviation."""
    x = linear(w, "decoder_embed", tokens)
    x = torch.cat([w["trainable_cls_token"].expand(len(x), -1, -1), x], 1) + w["decoder_pos_embed"]
    for i in range(c.depth):
        name = f"decoder_layers.{i}"
        y = layer_norm(w, name + ".layernorm_before", x, c.eps)
        y = attend(*(linear(w, f"{name}.attention.attention.{p}", y) for p in ("query", "key", "value")), c.heads)
        x = x + linear(w, name + ".attention.output.dense", y)
        y = layer_norm(w, name + ".layernorm_after", x, c.eps)
        x = x + linear(w, name + ".output.dense", F.gelu(linear(w, name + ".intermediate.dense", y)))
    x = linear(w, "decoder_pred", layer_norm(w, "decoder_norm", x, c.eps))[:, 1:]
    pixels = x.unflatten(2, (c.patch, c.patch, 3)).unflatten(1, (c.side, c.side))              # b i j y x c
    return torch.einsum("bijyxc->bciyjx", pixels).reshape(len(x), 3, c.side * c.patch, c.side * c.patch)


def rae_encode(w, c, images, mean, std, input_size, stats):
    """Images in [0,1] -> normalised latent (B,C,h,w). stats: (mean or None, variance)"""
    if images.shape[-2:] != (input_size, input_size):
        images = F.interpolate(images, size=(input_size, input_size), mode="bicubic", align_corners=False)
    tokens = encode(w, c, (images - mean[:, None, None]) / std[:, None, None])
    side = math.isqrt(tokens.shape[1])
    z = tokens.transpose(1, 2).unflatten(2, (side, side))
    return (z if stats[0] is None else z - stats[0]) / (stats[1] + 1e-5).sqrt()


def rae_decode(w, c, z, mean, std, stats):
    z = z * (stats[1] + 1e-5).sqrt()
    z = z if stats[0] is None else z + stats[0]
    return (decode(w, c, z.flatten(2).transpose(1, 2)) * std[:, None, None] + mean[:, None, None]).clamp(0, 1)


# ---- DiT^DH (DiTwDDTHead and its MeanFlow variant with a second time) --------------------------------------------------------------------


def dit_blocks(c):
    """(width, heads) of each block: the backbone's, then the head's."""
    return [(c.width, c.heads)] * c.depth + [(c.head_width, c.head_heads)] * c.head_depth


def swiglu_hidden(width):
    return int(2 / 3 * int(4 * width))


def dit_block_shapes(name, d):
    h = swiglu_hidden(d)
    return ([(name + ".norm1.weight", (d,)), (name + ".norm2.weight", (d,))] + linear_shapes(name + ".attn.qkv", 3 * d, d)
            + linear_shapes(name + ".attn.proj", d, d) + linear_shapes(name + ".mlp.w12", 2 * h, d) + linear_shapes(name + ".mlp.w3", d, h)
            + linear_shapes(name + ".adaLN_modulation.1", 6 * d, d))


def time_shapes(name, d):
    return [(name + ".W", (256,))] + linear_shapes(name + ".mlp.0", d, 512) + linear_shapes(name + ".mlp.2", d, d)


def dit_shapes(c):
    d, head, n = c.width, c.head_width, c.side**2
    shapes = [("pos_embed", (1, n, d)), ("x_embedder.proj.weight", (head, c.channels, 1, 1)), ("x_embedder.proj.bias", (head,)),
              ("s_embedder.proj.weight", (d, c.channels, 1, 1)), ("s_embedder.proj.bias", (d,))] + linear_shapes("s_projector", head, d)
    shapes += time_shapes("t_embedder", d) + (time_shapes("r_embedder", d) if c.mean_flow else [])
    shapes += [("y_embedder.embedding_table.weight", (c.classes + 1, d)), ("final_layer.norm_final.weight", (head,))]
    shapes += linear_shapes("final_layer.linear", c.channels, head) + linear_shapes("final_layer.adaLN_modulation.1", 2 * head, head)
    for name, width, heads in (("enc", d, c.heads), ("dec", head, c.head_heads)):
        shapes += [(f"{name}_feat_rope.freqs_{part}", (n, width // heads)) for part in ("cos", "sin")]
    return shapes + [s for i, (width, _) in enumerate(dit_blocks(c)) for s in dit_block_shapes(f"blocks.{i}", width)]


def rope_angles(side, head_width):
    """(N, head_width): first half by row, second by column, each angle twice."""
    per_axis = head_width // 2
    f = 10000.0 ** -(torch.arange(0, per_axis, 2, dtype=torch.float64) / per_axis)
    one = torch.outer(torch.arange(side, dtype=torch.float64), f).repeat_interleave(2, 1)
    rows, columns = one[:, None].expand(side, side, -1), one[None].expand(side, side, -1)
    return torch.cat([rows, columns], -1).flatten(0, 1)


def fixed_tables(c):
    """What a DiT^DH's file holds that is not trained, without the frequencies W."""
    tables = {"pos_embed": sin_cos_positions(c.side, c.width, False)}
    for name, width in (("enc", c.width // c.heads), ("dec", c.head_width // c.head_heads)):
        angles = rope_angles(c.side, width)
        tables[f"{name}_feat_rope.freqs_cos"], tables[f"{name}_feat_rope.freqs_sin"] = angles.cos().float(), angles.sin().float()
    return tables


def rotated(x, cos, sin):
    pairs = x.unflatten(-1, (-1, 2))
    turned = torch.stack([-pairs[..., 1], pairs[..., 0]], -1).flatten(-2)
    return x * cos + turned * sin


def time_embedding(w, name, t):
    angles = 2 * math.pi * t[:, None] * w[name + ".W"]
    return linear(w, name + ".mlp.2", F.silu(linear(w, name + ".mlp.0", torch.cat([angles.sin(), angles.cos()], 1))))


def rms_norm(w, name, x):
    return F.rms_norm(x, x.shape[-1:], w[name + ".weight"], 1e-6)


def dit_block(w, name, heads, rope, x, condition):
    """condition (B,1,D) for all tokens or (B,N,D) for each."""
    shift1, scale1, gate1, shift2, scale2, gate2 = linear(w, name + ".adaLN_modulation.1", F.silu(condition)).chunk(6, -1)
    q, k, v = linear(w, name + ".attn.qkv", rms_norm(w, name + ".norm1", x) * (1 + scale1) + shift1).chunk(3, -1)
    cos, sin = (w[f"{rope}_feat_rope.freqs_{part}"].repeat(1, heads) for part in ("cos", "sin"))
    x = x + gate1 * linear(w, name + ".attn.proj", attend(rotated(q, cos, sin), rotated(k, cos, sin), v, heads))
    a, b = linear(w, name + ".mlp.w12", rms_norm(w, name + ".norm2", x) * (1 + scale2) + shift2).chunk(2, -1)
    return x + gate2 * linear(w, name + ".mlp.w3", F.silu(a) * b)


def dit(w, c, x, t, y, r=None):
    """Noisy latent (B,C,h,w), times, labels -> velocity; with c.mean_flow the average one between r and t."""
    te = time_embedding(w, "t_embedder", t)
    if c.mean_flow:
        te = te + time_embedding(w, "r_embedder", t - r)
    condition = F.silu(te + F.embedding(y, w["y_embedder.embedding_table.weight"]))[:, None]
    embedded = lambda name: F.conv2d(x, w[name + ".proj.weight"], w[name + ".proj.bias"]).flatten(2).transpose(1, 2)
    s = embedded("s_embedder") + w["pos_embed"]
    blocks = list(enumerate(dit_blocks(c)))
    for i, (_, heads) in blocks[:c.depth]:
        s = dit_block(w, f"blocks.{i}", heads, "enc", s, condition)
    s = F.silu(te[:, None] + s)
    if "s_projector.weight" in w:                                        # absent when both widths are equal
        s = linear(w, "s_projector", s)
    h = embedded("x_embedder")
    for i, (_, heads) in blocks[c.depth:]:
        h = dit_block(w, f"blocks.{i}", heads, "dec", h, s)
    shift, scale = linear(w, "final_layer.adaLN_modulation.1", F.silu(s)).chunk(2, -1)
    out = linear(w, "final_layer.linear", rms_norm(w, "final_layer.norm_final", h) * (1 + scale) + shift)
    return out.transpose(1, 2).reshape(x.shape)


# ---- DiT, which SiT uses as a velocity, and its variant with two times for MeanFlow (Peebles & Xie 2023; Geng et al. 2025) -----------------


def plain_dit_shapes(c):
    """c: side (of the latent), channels, out_channels, patch, width, depth, heads, classes, mean_flow"""
    d, p, n = c.width, c.patch, (c.side // c.patch) ** 2
    embedder = lambda name: linear_shapes(name + ".mlp.0", d, 256) + linear_shapes(name + ".mlp.2", d, d)
    shapes = [("pos_embed", (1, n, d)), ("x_embedder.proj.weight", (d, c.channels, p, p)), ("x_embedder.proj.bias", (d,))]
    shapes += embedder("t_embedder") + (embedder("r_embedder") if c.mean_flow else [])
    shapes += [("y_embedder.embedding_table.weight", (c.classes + 1, d))]
    for name in (f"blocks.{i}" for i in range(c.depth)):
        shapes += linear_shapes(name + ".attn.qkv", 3 * d, d) + linear_shapes(name + ".attn.proj", d, d)
        shapes += linear_shapes(name + ".mlp.fc1", 4 * d, d) + linear_shapes(name + ".mlp.fc2", d, 4 * d)
        shapes += linear_shapes(name + ".adaLN_modulation.1", 6 * d, d)
    return shapes + linear_shapes("final_layer.linear", p * p * c.out_channels, d) + linear_shapes("final_layer.adaLN_modulation.1", 2 * d, d)


def cosine_embedding(w, name, t):
    """256 cosines and sines of t, from frequency 1 down to almost 1/10000, then an MLP."""
    frequencies = 10000.0 ** -(torch.arange(128, dtype=torch.float64) / 128)
    angles = t[:, None] * frequencies.to(t)
    return linear(w, name + ".mlp.2", F.silu(linear(w, name + ".mlp.0", torch.cat([angles.cos(), angles.sin()], 1))))


def plain_dit(w, c, x, t, y, r=None):
    """Noisy latent (B,C,S,S), times, labels -> all output channels (B,out_channels,S,S); with c.mean_flow the average velocity from r to t."""
    condition = cosine_embedding(w, "t_embedder", t) + F.embedding(y, w["y_embedder.embedding_table.weight"])
    if c.mean_flow:
        condition = condition + cosine_embedding(w, "r_embedder", t - r)
    condition = F.silu(condition)[:, None]
    modulated = lambda h, shift, scale: F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + scale) + shift
    h = F.conv2d(x, w["x_embedder.proj.weight"], w["x_embedder.proj.bias"], stride=c.patch).flatten(2).transpose(1, 2) + w["pos_embed"]
    for name in (f"blocks.{i}" for i in range(c.depth)):
        shift1, scale1, gate1, shift2, scale2, gate2 = linear(w, name + ".adaLN_modulation.1", condition).chunk(6, -1)
        q, k, v = linear(w, name + ".attn.qkv", modulated(h, shift1, scale1)).chunk(3, -1)
        h = h + gate1 * linear(w, name + ".attn.proj", attend(q, k, v, c.heads))
        hidden = F.gelu(linear(w, name + ".mlp.fc1", modulated(h, shift2, scale2)), approximate="tanh")
        h = h + gate2 * linear(w, name + ".mlp.fc2", hidden)
    shift, scale = linear(w, "final_layer.adaLN_modulation.1", condition).chunk(2, -1)
    tokens, grid = linear(w, "final_layer.linear", modulated(h, shift, scale)), c.side // c.patch
    pixels = tokens.unflatten(2, (c.patch, c.patch, c.out_channels)).unflatten(1, (grid, grid))        # b i j y x c
    return torch.einsum("bijyxc->bciyjx", pixels).reshape(len(x), c.out_channels, c.side, c.side)


# ---- files -------------------------------------------------------------------------------------------------------------------------------

def save_safetensors(path, shapes, make):
    """f32 tensors of these (name, shape)s; make(name, shape) is called when it is their turn to be written."""
    header, offset = {}, 0
    for name, shape in shapes:
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes:
            t = make(name, shape)
            assert t.dtype == torch.float32 and t.shape == tuple(shape), name
            f.write(t.contiguous().numpy())


class FileOfTensors:
    """The f32 tensors of a safetensors file, read and widened when they are asked for: a dictionary that does not fit in memory."""

    def __init__(self, path, dtype=torch.float32):
        with open(path, "rb") as f:
            header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
            self.start = f.tell()
        self.path, self.dtype = path, dtype
        self.entries = {name: entry for name, entry in header.items() if name != "__metadata__"}

    def __contains__(self, name):
        return name in self.entries

    def __getitem__(self, name):
        entry = self.entries[name]
        begin, end = entry["data_offsets"]
        assert entry["dtype"] == "F32", name
        values = torch.from_file(str(self.path), size=(self.start + end) // 4, dtype=torch.float32)   # mapped; the header is whole words
        return values[(self.start + begin) // 4:].reshape(entry["shape"]).to(self.dtype)


class Part:
    """Those names of a dictionary that begin with a prefix, without it."""

    def __init__(self, tensors, prefix):
        self.tensors, self.prefix = tensors, prefix

    def __contains__(self, name):
        return self.prefix + name in self.tensors

    def __getitem__(self, name):
        return self.tensors[self.prefix + name]
