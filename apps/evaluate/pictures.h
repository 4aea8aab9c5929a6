// `evaluate pictures`: the metrics of a set of images against a reference, without a run. Replaces pytorch-fid, torch-fidelity and the evaluator of
// guided-diffusion on files of images.
#pragma once

#include <string>
#include <vector>

#include "apps/cli/program.h"

namespace fm {

struct PicturesCommand {
  std::string samples, reference, features, preparation, out = "evaluation", write_statistics, lpips;
  std::vector<std::string> metrics;
  std::string ssim_border = "full";
  bool pairs = false;
  std::int64_t limit = 0, halves = 20, seed = 2020;

  template <class V> void visit(V&& v) {
    v("samples", samples, "images to measure: a folder, or a .npz or .npy file of uint8 images (N, H, W, C); or, for fid and sfid, a .npz file of their statistics (mu, sigma)", flag("samples"), basic(), value_as("DIR|FILE"));
    v("reference", reference, "images to compare with, in the same forms, or a .npz file of their statistics (mu, sigma)", flag("reference"), basic(), value_as("DIR|FILE"));
    v("features", features, "network of the features with its file of weights: inception:FILE (FID), or dinov2:FILE (FD-DINOv2)", flag("features"), basic(), value_as("NETWORK:FILE"));
    v("preparation", preparation, "resizing of images for the network: tf1 (guided-diffusion, torch-fidelity), half-pixel (pytorch-fid), clean (clean-fid); empty: tf1, for dinov2 pillow",
      flag("preparation"), basic(), value_as("NAME"));
    v("metrics", metrics, "metrics to measure; empty: all that the inputs allow but fid_infinity", flag("metrics"), basic(), value_as("fid,sfid,is,kid,...|fid_infinity"));
    v("pairs", pairs, "PSNR and SSIM between images of the same name or row: reconstructions and their originals", flag("pairs"));
    v("ssim_border", ssim_border, "with pairs, positions whose SSIM is averaged: all (full), or all but a border of 5 pixels (cropped; torchmetrics before September 2024)",
      one_of({"full", "cropped"}), flag("ssim-border"));
    v("lpips", lpips, "with pairs, the network of LPIPS with its files: vgg:TRUNK,HEADS or alex:TRUNK,HEADS, or one file of both", flag("lpips"), value_as("NETWORK:FILE[,FILE]"));
    v("write_statistics", write_statistics, "file for mean and covariance of the features of the reference's images, or of the samples if there is no reference (.npz)", flag("write-statistics"),
      value_as("FILE.npz"));
    v("limit", limit, "number of images of each set, the first ones; 0: all", range(0, 1e9), flag("limit"));
    v("halves", halves, "random halves of the samples for the standard error of Frechet distances; 0: none", range(0, 10000), flag("halves"));
    v("seed", seed, "seed of random halves, subsets and permutations; 2020 is torch-fidelity's", range(0, 4294967295.0), flag("seed"));
    v("out", out, "folder for pictures.csv, report.html and the features, which a repeated command takes from there", flag("out"), basic(), value_as("DIR"));
  }
};

int evaluate_pictures(PicturesCommand& command, Context& context);

// `evaluate --samples DIR` means `evaluate pictures --samples DIR`: inserts the name of the command if the value of --samples is no number.
std::vector<const char*> with_pictures(int argc, char** argv);

}  // namespace fm
