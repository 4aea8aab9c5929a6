# FID's Inception against the modules that published it, pytorch-fid's and torch-fidelity's, at full size with rule-filled weights (evaluation.md 7.1, 7.2).
# Each module prepares the images itself: half-pixel (pytorch-fid), tf1 (torch-fidelity); for `clean` Pillow resizes. Nothing is downloaded.
#
#   pip install torch pytorch-fid torch-fidelity pillow
#   ninja -C build tests/full_size
#   python3 tests/golden/inception_modules.py build/tests/full_size [--sides 256,32] [--folder /tmp]
#
# Prints the largest absolute differences of this code's f32 outputs from the module in f32 and in f64 (f32 preparation), and of the module in f32
# from f64. Fails if this code differs from a module in f32 by more than 1e-5 in a feature or 2e-5 in a logit.
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image

import models as m


def name_hash(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def bits(key, n):
    z = np.uint64(name_hash(key)) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def fill(name, shape):
    shape = tuple(shape)
    v = 2 * ((bits(name, int(np.prod(shape))) >> np.uint64(40)).astype(np.float64) / 2**24) - 1
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if name.endswith("running_var"):
        v = 1 + 0.5 * v
    elif len(shape) >= 2:
        v = np.sqrt(6 / np.prod(shape[1:])) * v
    elif name.endswith("weight"):
        v = 1 + 0.1 * v
    else:
        v = 0.1 * v
    return torch.from_numpy(v.astype(np.float32).reshape(shape))


def picture(number, side):
    y, x, c = np.mgrid[0:side, 0:side, 0:3]
    t = (4 * x + 2 * y + 85 * c + 40 * number) & 511
    t = np.where(t > 255, 511 - t, t)
    noise = (bits(f"image.{number}", side * side * 3) >> np.uint64(56)).astype(np.int64).reshape(side, side, 3)
    return torch.from_numpy(((3 * t + noise) >> 2).astype(np.uint8)).permute(2, 0, 1).contiguous()


def pytorch_fid_net():
    """The module, and its tensors; the download of the published file is replaced by the rule."""
    import pytorch_fid.inception as pf
    values = {}

    def rule_filled(*_, **__):
        plain = pf._inception_v3(num_classes=1008, aux_logits=False, weights=None)
        values.update({name: fill(name, t.shape) for name, t in plain.state_dict().items()})
        return values

    pf.load_state_dict_from_url = rule_filled
    return pf, pf.fid_inception_v3().eval(), values


def body(net, x):
    """pool3, spatial and unbiased logits of prepared images."""
    spatial, pooled = [], []
    hook = net.Mixed_6d.branch1x1.register_forward_hook(lambda _, __, y: spatial.append(y[:, :7].permute(0, 2, 3, 1).flatten(1)))
    before_fc = net.fc.register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0]))
    net(x)
    hook.remove()
    before_fc.remove()
    return {"pool3": pooled[0], "spatial": spatial[0], "logits_unbiased": pooled[0] @ net.fc.weight.T}


def clean(images):
    def channel(plane):
        image = Image.fromarray(plane.numpy().astype(np.float32))
        return torch.from_numpy(np.asarray(image.resize((299, 299), Image.BICUBIC)).copy())
    resized = torch.stack([torch.stack([channel(c) for c in image]) for image in images])
    return (resized.clamp(0, 255) - 128) / 128


def half_pixel(images):
    """As pytorch-fid's module prepares them."""
    x = torch.nn.functional.interpolate(images.float() / 255, size=(299, 299), mode="bilinear", align_corners=False)
    return 2 * x - 1


def torch_fidelity_outputs(weights, images):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    net = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights))
    spatial = []
    net.Mixed_6d.branch1x1.register_forward_hook(lambda _, __, y: spatial.append(y[:, :7].permute(0, 2, 3, 1).flatten(1)))
    pool3, logits = net(images)
    return {"pool3": pool3, "spatial": spatial[0], "logits_unbiased": logits}


def tf1(images):
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
    return (interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(299, 299), align_corners=False) - 128) / 128


def largest(a, b):
    return (a.double() - b.double()).abs().max().item()


parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--sides", default="256,32")
parser.add_argument("--folder", default=None, help="where the temporary folder is made; 200 MB")
parser.add_argument("--threads", type=int, default=0)
options = parser.parse_args()
if options.threads:
    torch.set_num_threads(options.threads)
failed = False
print("| module | preparation | side | output | this code, f32, against the module in f32 | against f64 | module, f32 against f64 |")
print("|---|---|---|---|---|---|---|")
with torch.no_grad(), tempfile.TemporaryDirectory(dir=options.folder) as name:
    folder = pathlib.Path(name)
    pf, net, values = pytorch_fid_net()
    m.save_safetensors(folder / "weights.safetensors", [(k, tuple(v.shape)) for k, v in values.items() if not k.endswith("tracked")], lambda k, _: values[k])
    torch.save(values, folder / "weights.pth")
    for side in map(int, options.sides.split(",")):
        images = torch.stack([picture(0, side), picture(1, side)])
        m.save_safetensors(folder / "inputs.safetensors", [("images", tuple(images.shape))], lambda *_: images.float())
        for how, prepare in (("half-pixel", half_pixel), ("tf1", tf1), ("clean", clean)):
            subprocess.run([options.program, "inception-" + how, str(side), "f32", folder], check=True)
            ours = m.FileOfTensors(folder / "output.safetensors")
            x = prepare(images)
            exact = body(net.double(), x.double())
            single = torch_fidelity_outputs(folder / "weights.pth", images) if how == "tf1" else body(net.float(), x)
            module = {"half-pixel": "pytorch-fid", "tf1": "torch-fidelity", "clean": "pytorch-fid after Pillow"}[how]
            for key, want in exact.items():
                got = largest(ours[key], single[key])
                failed |= got > (2e-5 if key == "logits_unbiased" else 1e-5)
                print(f"| {module} | {how} | {side} | {key} | {got:.1e} | {largest(ours[key], want):.1e} | {largest(single[key], want):.1e} |", flush=True)
        if side == int(options.sides.split(",")[-1]):        # after the table
            whole = pf.InceptionV3([3]).eval()(images.float() / 255)[0].flatten(1)        # pytorch-fid's own preparation, not the line above
            gap = largest(whole, body(net.float(), half_pixel(images))["pool3"])
            print(f"pytorch-fid with its own preparation differs from pytorch-fid on images prepared here by {gap:.1e}")
            failed |= gap > 1e-6
sys.exit(failed)
