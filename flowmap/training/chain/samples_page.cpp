#include "flowmap/training/chain/samples_page.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "data/report/clock.h"
#include "data/rows.h"
#include "flowmap/metrics/sample_metrics.h"
#include "flowmap/path.h"
#include "flowmap/training/generator.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

constexpr std::size_t shown_generators = 4;

// Adds a table of the metrics that these samples have, one row for each set of samples.
void add_comparison(HtmlReport& page, const std::vector<std::pair<std::string, std::map<std::string, double>>>& rows) {
  std::vector<std::string> head{""};
  std::vector<std::vector<std::string>> cells(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) cells[i].push_back(rows[i].first);
  for (const SampleMetric& metric : sample_metrics())
    for (const MetricValue& value : metric.values) {
      if (!rows.front().second.contains(value.name)) continue;
      head.emplace_back(value.title);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const double x = rows[i].second.at(value.name);
        cells[i].push_back(std::isfinite(x) ? fmt::format("{:.{}f}", x, value.decimals) : "-");
      }
    }
  page.table(head, cells,
             "For comparison: the numbers of other samples of the data show the effect of chance; those of noise are the numbers of a generator that has "
             "learned nothing.");
}

}  // namespace

std::filesystem::path samples_page(const std::filesystem::path& root) { return root / "evaluation" / "samples.html"; }

SamplesPage::SamplesPage(TrainingRun& run, const Evaluator& evaluator) : run_(run), evaluator_(evaluator) {
  sets_.push_back(named("test data", evaluator.reference().features, evaluator.reference().labels));
}

NamedSamples named_samples(const Recipe& recipe, const std::string& name, const Tensor& values, const std::vector<std::int64_t>& labels) {
  const Shape sample = recipe.sample_shape;
  const std::int64_t n = std::min(values.dim(0), rows_for_curves(sample));
  NamedSamples set{.name = name, .values = first_rows(values, n).reshape(sample.rows(n)), .labels = {}};
  if (recipe.conditional) set.labels.assign(labels.begin(), labels.begin() + n);
  return set;
}

NamedSamples SamplesPage::named(const std::string& name, const Tensor& values, const std::vector<std::int64_t>& labels) const {
  return named_samples(run_.recipe(), name, values, labels);
}

void SamplesPage::add(const Score& of, const Tensor& values, const std::vector<std::int64_t>& labels) {
  if (of.calls < 0 || generators_.size() >= shown_generators || std::find(generators_.begin(), generators_.end(), of.name) != generators_.end()) return;
  generators_.push_back(of.name);
  steps_.push_back(of.step < 0 ? of.name : fmt::format("{} of step {}", of.name, of.step));
  sets_.push_back(named(fmt::format("{}, {} call{}", of.name, of.calls, of.calls == 1 ? "" : "s"), values, labels));
}

Tensor SamplesPage::training_values() const {
  const std::shared_ptr<const SampleSource> train = open_source(run_.recipe().data, Split::train);
  const Tensor x = read_rows(*train, balanced_rows(*train, std::min(run_.recipe().evaluate.samples, train->count())));
  return x.reshape({x.dim(0), -1});
}

Tensor SamplesPage::noise_values() const {
  const Recipe& r = run_.recipe();
  const Tensor noise = sample_noise(consecutive(0, r.evaluate.samples), r.latent_shape(), static_cast<std::uint64_t>(r.seed));
  return run_.decoding_space().decode(noise).to(Device{}).to(DType::f32).contiguous().reshape({noise.dim(0), -1});
}

void SamplesPage::write() {
  HtmlReport page("");
  page.heading("Samples and data");
  page.paragraph(fmt::format("Written at {}, by an evaluation of {}.", utc_now(), fmt::join(steps_, ", ")));
  add_comparison(page, {{"training data", evaluator_.metrics_of({training_values(), {}, {}, {}})}, {"noise itself", evaluator_.metrics_of({noise_values(), {}, {}, {}})}});
  add_curves(page, sample_curves(sets_, run_.class_names()));
  const std::filesystem::path file = samples_page(run_.root());
  std::filesystem::create_directories(file.parent_path());
  write_atomically(file, page.section());
}

}  // namespace fm
