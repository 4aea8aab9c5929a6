// --what latents: MF-RAE's Table 2 and Figure 1 as an experiment. Two runs that differ in latent space and network ("sides"), each with four flow maps:
//
//   mfd guided     CMT and MFD with the guided teacher             mfd unguided   CMT and MFD with the teacher as it is
//   mft guided     from the guided CMT, MeanFlow on data whose     mft unguided   from the unguided CMT, MeanFlow on data
//                  targets the network guides itself
//
// The four maps of a side have the same batch, steps, rate, average, times and metric, those of its [mfd]. Between the sides, data, seed, evaluation, and
// all settings of teacher, CMT and MFD must be equal (check_equal_work). The budgets of the autoencoders ([encoder], [decoder], [vae]) are not compared, because
// they belong to the latent space. Neither are the settings of the networks.
//
// The scale of guidance is `guidance` in all guided rows: the self-guided target of scale omega / (1 - kappa) has the omega of MeanFlow-XL/2, 0.2, and the kappa
// that follows. It asks the network for its velocity without a label, so a [mfd] without label dropout gets MeanFlow's, 0.1, in this row.
#pragma once

#include "flowmap/training/ablation/report.h"

namespace fm {

// The four trainings of a side, whose starts are the names of latents_starts(). The recipe must be resolved. ConfigError if its guidance is 1 or smaller, or its
// mfd does not distill from the teacher alone.
std::vector<Variant> latents_variants(const Recipe& recipe);

// The two trainings of CMT that the four begin from, "cmt guided" and "cmt unguided".
std::vector<Variant> latents_starts(const Recipe& recipe);

// ConfigError, with the first key that differs, unless the resolved recipes agree in all settings but these: latent space and network with their sections and
// files; stages of the autoencoders; [mft] and [map], which the comparison replaces; logs, checkpoints, micro-batches, and the storage of latents. The settings
// [judge] are compared if a side trains its own judge.
void check_equal_work(const Recipe& a, const Recipe& b);

// Multiply-adds in linear layers and convolutions, in billions: the numbers that `inspect --flops` prints as macs_linear, and the paper as GFLOPs.
struct SampleCost {
  double generator = 0, decoder = 0;                                   // of a call for one sample, and of one decoding (0: the space has no decoder)
  double of(int calls) const { return calls * generator + decoder; }
};
SampleCost sample_cost(const Recipe& recipe);

// What the sides cost: columns of a trial (Trial::own) beside its scores.
std::vector<TableColumn> latents_columns();
std::vector<double> latents_costs(const Recipe& recipe, const Trial& trial, const Variant& variant);

// One side, scored. `folder`: the folder of its run inside the comparison's, which also names it.
struct Side {
  std::string folder;
  Findings findings;
};

// All rows in one table, each under the name of its side. Error if the sides were scored by different judges or against different references: such
// distances cannot be compared.
Findings joined(std::vector<Side> sides);

// Figure 1: distance to the data over the multiply-adds of a sample, generator and decoder together, for each number of calls.
std::vector<Plot> latents_plots(const Findings& findings);

}  // namespace fm
