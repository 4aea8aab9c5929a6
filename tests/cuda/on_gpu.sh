#!/bin/sh
# on_gpu.sh TEST INSPECT ROOT, called by `meson compile -C build on_gpu` on a machine with a GPU. Runs the tests of operations, derivatives and
# kernels on cuda:0, then measures training steps of DiT^DH-S in f32 and bf16.
test=$1 inspect=$2 root=$3
"$test" || { code=$?; [ $code = 77 ] && echo "there is no usable GPU: nothing was tested"; exit $code; }
for precision in f32 bf16; do
  for step in fm mft mfd; do
    echo "== $step, $precision"
    "$inspect" --profile $step --config "$root/configs/imagenet256/mf_rae.toml" --dit-size S --dit.precision $precision --$step.loop.batch 32 \
      --$step.loop.micro-batch 0 --device cuda || exit
  done
done
