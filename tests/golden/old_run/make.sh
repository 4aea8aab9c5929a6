#!/bin/sh
# make.sh PROGRAMS OUT: makes the run of tests/apps/old_run.cpp, by programs from before latent spaces, networks and objectives were values of their
# own (commit 407cd2a). OUT/run is the run as a kill after step 6 of its last stage would have left it; OUT/finished.safetensors are the averaged
# weights that those programs ended with; OUT/samples.npz and OUT/run/scores.csv are what they made of them.
#   git worktree add old 407cd2a && cd old && meson setup build -Dcuda=disabled && ninja -C build apps/flowmap_train apps/flowmap_sample
#   sh tests/golden/old_run/make.sh old/build/apps tests/golden/old_run
set -eu
programs=$(realpath "$1") out=$(realpath "$2") here=$(realpath "$(dirname "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export OMP_NUM_THREADS=1
"$programs/flowmap_train" pipeline --config "$here/config.toml" --out run -q
"$programs/flowmap_sample" --config "$here/config.toml" --out run --count 4 --seed 5 --grid= --npz samples.npz -q
rm -rf "$out/run"
cp run/mfd/checkpoints/step-00000012/ema.safetensors "$out/finished.safetensors"
cp samples.npz "$out/"
mkdir -p "$out/run"
cp run/scores.csv run/stats.safetensors "$out/run/"
for stage in judge encoder decoder fm cmt mfd; do
  cp -r "run/$stage" "$out/run/"
  cd "$out/run/$stage"
  rm -rf log.txt run.json metrics.csv samples run.lock checkpoints/latest          # the link: not every copy of a tree keeps it
  [ "$stage" = mfd ] || rm config.toml                                    # all are alike
  cd "$work"
done
rm -r "$out/run/mfd/checkpoints/step-00000012"
