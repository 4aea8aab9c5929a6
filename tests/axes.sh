#!/bin/sh
# axes.sh ROOT: latent space, network, objective, scores and data are independent. A model is named in its own files, in the file that makes it a
# space or features, in the stages that train it, where its config is a section of the recipe, in presets, published names and costs, and in a
# row of a list. Everything else works with the values LatentSpace, Network and Features. Comments and tests are left out.
#
# Files that still name a model stand in `remaining` with the number of such lines. The list only shrinks: a file with fewer lines than it says
# fails too, until the list is corrected.
#
# An entry of a list is named in its own files and in few others: one entry on each axis is counted, with the most files that a new one may touch.
# A metric has two lists: scores of a run (sample_metrics.cpp) and of files of images (set_metrics.cpp).
# And README's reading order goes through files that exist, among them a network, the training step and the kernel of products.
set -eu
cd "$1"
names='(AutoencoderKL|Dit|Rae|Judge)([A-Z][A-Za-z]*)?'
homes='^(nn/models/|nn/backbones/|nn/flops/|flowmap/training/(rae_space|vae_space|judge_features)\.|flowmap/training/chain/(space_rae|space_vae|stage_judge|stage_encoder|stage_decoder|stage_vae)\.|flowmap/training/chain/recipe\.h|flowmap/training/published(_sit)?\.)'
rows='^(flowmap/training/backbones\.h|flowmap/training/chain/(feature_rows|stages)\.cpp):'       # a row for each model
remaining='apps/inspect/reported_runs.cpp 1'
found=$(grep -rnE --include='*.h' --include='*.cpp' "(^|[^A-Za-z0-9_])$names([^A-Za-z0-9_]|\$)" tensor autodiff data nn flowmap apps |
  grep -vE ':[0-9]+:[[:space:]]*//' | grep -vE "$homes" || true)
failed=0
in_rows=$(echo "$found" | grep -E "$rows" | cut -d: -f1 | sort | uniq -c | awk '$1 > 3 { print $2 " has " $1 " lines" }')
[ -z "$in_rows" ] || { echo "more than a row of a list:"; echo "$in_rows"; failed=1; }
counted=$(echo "$found" | grep -vE "$rows" | grep . | cut -d: -f1 | sort | uniq -c | awk '{ print $2 " " $1 }')
[ "$counted" = "$remaining" ] || {
  echo "files that name a model, with the number of lines, are not those of the list in tests/axes.sh (< the list, > the files):"
  echo "$remaining" >/tmp/axes.$$; echo "$counted" | diff /tmp/axes.$$ - || true
  rm -f /tmp/axes.$$; failed=1
}
while read -r axis pattern most; do
  others=$(grep -rlE --include='*.h' --include='*.cpp' --include=meson.build "$pattern" tensor autodiff data nn flowmap apps |
    grep -vE "/[a-z_]*($pattern)[a-z_]*\.(h|cpp)\$|^nn/config/removed_options\.h\$" | sort || true)    # and what versions differ in
  [ -n "$others" ] && [ "$(echo "$others" | wc -l)" -le "$most" ] || {
    echo "$axis: $pattern must be named in 1 to $most files beside its own, but is in:"; echo "$others"; failed=1
  }
done <<END
backbone residual_mlp|ResidualMlp 4
space haar 4
objective improved_mean_flow|ImprovedMeanFlow 2
metric kernel_distance 3
source cifar 2
END
order=$(sed -n '/^## Reading order/,/^## Folders/s/^[0-9]*\. \[\([^]]*\)\].*/\1/p' README.md)
for wanted in nn/models/ nn/training/step gemm; do
  echo "$order" | grep -q "$wanted" || { echo "README's reading order has no file of $wanted"; failed=1; }
done
for file in $order; do
  [ -f "$file" ] || { echo "README's reading order names $file, which does not exist"; failed=1; }
done
[ "$failed" = 0 ] && echo "models are named at home; $(echo "$remaining" | wc -l) files remain"
exit "$failed"
