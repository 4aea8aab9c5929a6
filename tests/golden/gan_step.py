"""One step of adversarial decoder training by PyTorch in float64: python3 tests/golden/gan_step.py > tests/golden/gan_step.txt

A tiny decoder, a tiny DINO backbone with trained heads, given changes of the images. First the generator: loss, adaptive weight, gradients of the decoder.
Then a plain gradient step of the decoder, and the discriminator on its rounded reconstruction: losses, gradients, spectral vectors. Weights follow
from names (draws.py), so that tests/flowmap/gan_step.cpp sets the same ones. Of each tensor the file has three numbers: its products with two vectors of draws,
and its norm.
"""
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm

from draws import draws

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

B, SIDE, PATCH, C, HD, HEADS, MLP = 3, 12, 4, 10, 16, 2, 24                  # decoder: 3x3 tokens, 12x12 pixels
DINO_SIDE, DINO_PATCH, DINO_W, DINO_HEADS, DINO_MLP, DINO_DEPTH = 20, 5, 12, 2, 20, 3
MAPS = (2, 0, 1, 2)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)                     # of the decoder's output, and of ImageNet for the backbone
PERCEPTUAL, SCALE, RATE = 0.7, 0.75, 0.05


def numbers(name, shape, scale=1.0, shift=0.0):
    v = (shift + scale * draws(name, int(np.prod(shape)))).astype(np.float32).astype(np.float64)
    return torch.from_numpy(v.reshape(shape))


def per_channel(v):
    return torch.tensor(v).reshape(1, 3, 1, 1)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        a = (q @ k.transpose(-1, -2) * (c // self.heads) ** -0.5).softmax(-1)
        return self.proj((a @ v).transpose(1, 2).reshape(b, n, c))


class Dino(nn.Module):
    def __init__(self):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, DINO_W))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (DINO_SIDE // DINO_PATCH) ** 2, DINO_W))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, DINO_W, DINO_PATCH, DINO_PATCH)})
        self.blocks = nn.ModuleList(nn.ModuleDict({
            "norm1": nn.LayerNorm(DINO_W, 1e-6), "attn": Attention(DINO_W, DINO_HEADS), "norm2": nn.LayerNorm(DINO_W, 1e-6),
            "mlp": nn.ModuleDict({"fc1": nn.Linear(DINO_W, DINO_MLP), "fc2": nn.Linear(DINO_MLP, DINO_W)})}) for _ in range(DINO_DEPTH))
        self.norm = nn.LayerNorm(DINO_W, 1e-6)

    def maps(self, x):
        x = F.interpolate(x, (DINO_SIDE, DINO_SIDE), mode="bilinear", align_corners=False)
        x = ((x + 1) / 2 - per_channel(MEAN)) / per_channel(STD)
        h = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        h = torch.cat([self.cls_token.expand(len(h), -1, -1), h], 1) + self.pos_embed
        out = []
        for block in self.blocks:
            h = h + block["attn"](block["norm1"](h))
            h = h + block["mlp"]["fc2"](F.gelu(block["mlp"]["fc1"](block["norm2"](h)), approximate="tanh"))
            out.append(h[:, 1:].transpose(1, 2))
        return [out[i] for i in MAPS]


class TokenNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(DINO_W)), nn.Parameter(torch.zeros(DINO_W))

    def forward(self, x):
        centered = x - x.mean(2, keepdim=True)
        return centered / (centered.square().mean(2, keepdim=True) + 1e-6).sqrt() * self.weight[:, None] + self.bias[:, None]


class Residual(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x):
        return (self.fn(x) + x) / np.sqrt(2)


def conv(out, kernel):
    return spectral_norm(nn.Conv1d(DINO_W, out, kernel, padding=kernel // 2, padding_mode="circular"))


def head():
    return nn.Sequential(nn.Sequential(conv(DINO_W, 1), TokenNorm(), nn.LeakyReLU(0.2)),
                         Residual(nn.Sequential(conv(DINO_W, 9), TokenNorm(), nn.LeakyReLU(0.2))), conv(1, 1))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList(head() for _ in MAPS)

    def forward(self, maps):
        return torch.cat([h(m).flatten(1) for h, m in zip(self.heads, maps)], 1)


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.ModuleDict({k: nn.Linear(HD, HD) for k in ("query", "key", "value")})
        self.output = nn.ModuleDict({"dense": nn.Linear(HD, HD)})

    def forward(self, x):
        q, k, v = (self.attention[n](x).unflatten(2, (HEADS, HD // HEADS)).transpose(1, 2) for n in ("query", "key", "value"))
        return self.output["dense"](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        n = (SIDE // PATCH) ** 2
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, n + 1, HD))
        self.trainable_cls_token = nn.Parameter(torch.zeros(1, 1, HD))
        self.decoder_embed = nn.Linear(C, HD)
        self.decoder_layers = nn.ModuleList([nn.ModuleDict({
            "attention": SelfAttention(), "intermediate": nn.ModuleDict({"dense": nn.Linear(HD, MLP)}),
            "output": nn.ModuleDict({"dense": nn.Linear(MLP, HD)}),
            "layernorm_before": nn.LayerNorm(HD, 1e-12), "layernorm_after": nn.LayerNorm(HD, 1e-12)})])
        self.decoder_norm = nn.LayerNorm(HD, 1e-12)
        self.decoder_pred = nn.Linear(HD, PATCH * PATCH * 3)

    def forward(self, z):
        h = torch.cat([self.trainable_cls_token.expand(len(z), -1, -1), self.decoder_embed(z)], 1) + self.decoder_pos_embed
        for layer in self.decoder_layers:
            h = h + layer["attention"](layer["layernorm_before"](h))
            h = h + layer["output"]["dense"](F.gelu(layer["intermediate"]["dense"](layer["layernorm_after"](h))))
        p = self.decoder_pred(self.decoder_norm(h))[:, 1:]
        g = SIDE // PATCH
        image = torch.einsum("nijpqc->ncipjq", p.reshape(len(z), g, g, PATCH, PATCH, 3)).reshape(len(z), 3, SIDE, SIDE)
        return image * per_channel(STD) + per_channel(MEAN)


def fill(module, prefix):
    with torch.no_grad():
        for name, t in list(module.named_parameters()) + list(module.named_buffers()):
            is_norm = t.dim() == 1 and name.endswith(".weight")
            t.copy_(numbers(prefix + name, tuple(t.shape), 0.4, 1.0 if is_norm else 0.0))
            if name.endswith("weight_u") or name.endswith("weight_v"):
                t.copy_(t / t.norm())


def augmented(x, kind):
    """The changes of images: shifts by (dy, dx), then brightness, saturation, contrast."""
    rows = []
    for i in range(len(x)):
        u = (draws(f"augment.{kind}.{i}", 5) + 1) / 2
        dy, dx = int(u[0] * 5) - 2, int(u[1] * 5) - 2
        canvas = torch.zeros(3, 3 * SIDE, 3 * SIDE)
        canvas = torch.cat([torch.cat([torch.zeros(3, SIDE, SIDE)] * 3, 2),
                            torch.cat([torch.zeros(3, SIDE, SIDE), x[i], torch.zeros(3, SIDE, SIDE)], 2),
                            torch.cat([torch.zeros(3, SIDE, SIDE)] * 3, 2)], 1)
        y = canvas[:, SIDE + dy:2 * SIDE + dy, SIDE + dx:2 * SIDE + dx]
        y = y + (u[2] - 0.5)
        grey = y.mean(0, keepdim=True)
        y = (y - grey) * (2 * u[3]) + grey
        rows.append((y - y.mean()) * (u[4] + 0.5) + y.mean())
    return torch.stack(rows)


def show(name, *tensors):
    values = []
    for t in tensors:
        flat = t.detach().reshape(-1).numpy()
        values += [flat @ draws("probe.1", flat.size), flat @ draws("probe.2", flat.size), np.linalg.norm(flat)] if flat.size > 1 else [flat.item()]
    print(name, *(f"{v:.16e}" for v in values))


decoder, dino, disc = Decoder(), Dino(), Discriminator()
for module, prefix in ((decoder, "decoder."), (dino, "dino."), (disc, "disc.")):
    fill(module, prefix)
dino.requires_grad_(False)
for block in dino.blocks:
    block["attn"].qkv.bias[DINO_W:2 * DINO_W] = 0
x, z = numbers("image", (B, 3, SIDE, SIDE), 0.45, 0.5), numbers("tokens", (B, (SIDE // PATCH) ** 2, C))

for kind in ("hinge", "vanilla"):
    fill(decoder, "decoder."), fill(disc, "disc.")
    decoder.zero_grad(), disc.zero_grad()
    disc.eval()
    y = decoder(z)
    l1, perceptual = (y - x).abs().mean(), ((2 * y - 1) - (2 * x - 1)).square().mean()
    rec = l1 + PERCEPTUAL * perceptual
    scores = disc(dino.maps(augmented(2 * y - 1, "generated")))
    g = -scores.mean() if kind == "hinge" else F.softplus(-scores).mean()
    last = decoder.decoder_pred.weight
    norms = [torch.autograd.grad(v, last, retain_graph=True)[0].norm() for v in (rec, g)]
    w = (norms[0] / (norms[1] + 1e-6)).clamp(0, 1e4).detach()
    total = rec + SCALE * w * g
    total.backward()
    show(f"{kind}.generator", l1, perceptual, g, w, total, scores)
    for name, p in decoder.named_parameters():
        show(f"{kind}.gradient.decoder.{name}", p.grad)

    with torch.no_grad():
        for p in decoder.parameters():
            p -= RATE * p.grad
        fake = torch.round(((2 * decoder(z) - 1).clamp(-1, 1) + 1) * 127.5) / 127.5 - 1
    disc.train(), disc.zero_grad()
    real_scores = disc(dino.maps(augmented(2 * x - 1, "real")))
    fake_scores = disc(dino.maps(augmented(fake, "fake")))
    if kind == "hinge":
        losses = F.relu(1 - real_scores).mean() / 2, F.relu(1 + fake_scores).mean() / 2
    else:
        losses = F.softplus(-real_scores).mean() / 2, F.softplus(fake_scores).mean() / 2
    (losses[0] + losses[1]).backward()
    show(f"{kind}.discriminator", *losses, fake, real_scores, fake_scores)
    for name, p in disc.named_parameters():
        show(f"{kind}.gradient.disc.{name}", p.grad)
    for name, b in disc.named_buffers():
        show(f"{kind}.updated.disc.{name}", b)
