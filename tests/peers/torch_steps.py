# The steps of tests/bench/step.cpp in PyTorch, for steps.py: the same folder, kinds and replies.
#
#   python torch_steps.py --folder DIR --precision f32 --compile 0 --width 384 ...
#
# Written as one who knows PyTorch would: scaled_dot_product_attention's fused kernel wherever it has the mode (its forward-mode derivative
# exists for the composed kernel alone), no_grad for what needs no history, tangents and differences of the rows s < t only, AdamW(fused=True),
# foreach clipping and averages, autocast to bf16 over f32 weights.
import contextlib
import os

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):          # set on some machines; they slow a BLAS down
    os.environ.pop(name, None)

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import mlp
import peer
from golden import models as m


class Steps:
    def __init__(self, a):
        torch.set_num_threads(a.threads)
        self.a, self.c = a, peer.sizes(a, mean_flow=True)
        self.c1 = peer.sizes(a, mean_flow=False)
        self.net = m.dit if a.heads else mlp.forward
        self.weights = self.load("weights")
        self.trained = {n: w for n, w in self.weights.items() if peer.is_trained(n)}
        for w in self.trained.values():
            w.requires_grad_(True)
        self.average = [w.detach().clone() for w in self.trained.values()]
        self.teacher = self.load("teacher")
        batch = self.load("batch")
        self.z0, self.eps, self.t, self.s, self.y = (batch[n] for n in ("z0", "eps", "t", "s", "y"))
        t = self.t[:, None, None, None]
        self.z = (1 - t) * self.z0 + t * self.eps
        self.k = int((self.s < self.t).sum())
        self.optimizer = torch.optim.AdamW(self.trained.values(), lr=1e-6, betas=(0.9, 0.95), weight_decay=0, fused=True)
        compiled = torch.compile if a.compile else lambda f: f
        self.losses = {kind: compiled(getattr(self, kind)) for kind in ("fm", "jvp", "fd", "mfd", "cmt")}
        self.draws = {kind: compiled(getattr(self, kind)) for kind in ("sample", "euler")}

    def load(self, name):
        return {n: torch.from_numpy(x) for n, x in peer.read_safetensors(os.path.join(self.a.folder, name + ".safetensors")).items()}

    def u(self, z, s, t, y):
        return self.net(self.weights, self.c, z, t, y, s)

    def v(self, z, t, y):
        return self.net(self.teacher, self.c1, z, t, y)

    def fm(self):
        return ((self.u(self.z, self.t, self.t, self.y) - (self.eps - self.z0)) ** 2).mean()

    def mean_flow(self, w, derivative):
        k = self.k
        u = self.u(self.z, self.s, self.t, self.y)
        with torch.no_grad():
            dudt = derivative(self.z[:k], self.s[:k], self.t[:k], self.y[:k], w[:k])
            head = w[:k] - (self.t[:k] - self.s[:k])[:, None, None, None] * dudt
            target = torch.cat([head, w[k:]])
        return ((u - target) ** 2).mean()

    def exact(self, z, s, t, y, w):
        with sdpa_kernel(SDPBackend.MATH):
            # Copies, because torch.compile fails on derivatives of views.
            return torch.func.jvp(lambda z, t: self.u(z, s, t, y), (z.clone(), t.clone()), (w.clone(), torch.ones_like(t)))[1]

    def difference(self, z, s, t, y, w):
        high, low = (t + 0.005).clamp(max=1), torch.maximum(t - 0.005, s)
        at = lambda x: self.u(z + (x - t)[:, None, None, None] * w, s, x, y)
        return (at(high) - at(low)) / (high - low)[:, None, None, None]

    def jvp(self):
        return self.mean_flow(self.eps - self.z0, self.exact)

    def fd(self):
        return self.mean_flow(self.eps - self.z0, self.difference)

    def mfd(self):
        with torch.no_grad():
            w = self.v(self.z, self.t, self.y)
        return self.mean_flow(w, self.exact)

    def cmt(self):
        with torch.no_grad():
            states = [self.eps]
            for i in range(4):
                states.append(states[-1] - 0.25 * self.v(states[-1], torch.full_like(self.t, 1 - 0.25 * i), self.y))
        t, s = torch.full_like(self.t, 0.75), torch.full_like(self.t, 0.25)
        return ((self.u(states[1], s, t, self.y) - (states[1] - states[3]) / 0.5) ** 2).mean()

    def sample(self):
        return self.eps - self.u(self.eps, torch.zeros_like(self.t), torch.ones_like(self.t), self.y)

    def euler(self):
        return self.eps - self.v(self.eps, torch.ones_like(self.t), self.y) * 0.02

    def precision(self):
        return torch.autocast("cpu", torch.bfloat16) if self.a.precision == "bf16" else contextlib.nullcontext()

    def train(self, kind, save):
        self.optimizer.zero_grad(set_to_none=True)
        with self.precision():
            loss = self.losses[kind]()
        loss.backward()
        if save:
            return loss.item(), {n: w.grad.numpy().copy() for n, w in self.trained.items() if w.grad is not None}
        torch.nn.utils.clip_grad_norm_(self.trained.values(), 1.0, foreach=True)
        self.optimizer.step()
        torch._foreach_lerp_(self.average, [w.detach() for w in self.trained.values()], 0.0005)
        return loss.item(), None

    @torch.no_grad()
    def draw(self, kind, save):
        with self.precision():
            z = self.draws[kind]()
        return 0.0, {"z": z.float().numpy()} if save else None


if __name__ == "__main__":
    peer.serve(Steps, f"PyTorch {torch.__version__}, {'MKL' if torch.backends.mkl.is_available() else 'no MKL'}, "
                      f"{'oneDNN' if torch.backends.mkldnn.is_available() else 'no oneDNN'}")
