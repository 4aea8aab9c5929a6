#include "data/dataset_json.h"

#include <fmt/format.h>

#include <cstddef>
#include <iterator>
#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tensor/io/file_text.h"

namespace fm {
namespace {

using Name = std::function<std::string_view(std::int64_t)>;

constexpr std::int64_t max_json_label = 10'000'000;

// Takes the parser's events. Depth 1 holds the keys, depth 2 the entries of "labels" and "class_names", depth 3 a pair [name, label].
class Handler : public nlohmann::json_sax<nlohmann::json> {
 public:
  Handler(std::string file, std::int64_t count, const Name& name) : file_(std::move(file)), count_(count), name_(name) {
    out_.labels.assign(static_cast<std::size_t>(count), -1);
  }

  bool null() override { return expect(Kind::null, "null"); }
  bool boolean(bool x) override { return expect(Kind::other, x ? "true" : "false"); }
  bool number_integer(number_integer_t x) override { return number(x, std::to_string(x)); }
  bool number_unsigned(number_unsigned_t x) override { return number(x > std::uint64_t(max_json_label) ? -1 : std::int64_t(x), std::to_string(x)); }
  bool number_float(number_float_t, const string_t& text) override { return expect(Kind::other, text); }
  bool binary(binary_t&) override { return expect(Kind::other, "bytes"); }
  bool string(string_t& text) override {
    expect(Kind::text, text);
    if (key_ == "class_names" && depth_ == 2) out_.class_names.push_back(text);
    if (in_pair()) picture_ = text, at_ = 1;
    return true;
  }
  bool start_object(std::size_t) override { return expect(Kind::object, "an object"), ++depth_, true; }
  bool start_array(std::size_t) override {
    expect(Kind::list, "a list");
    if (key_ == "labels" && depth_ == 1) labelled_ = true;
    if (key_ == "labels" && depth_ == 2) picture_.clear(), at_ = 0;
    return ++depth_, true;
  }
  bool end_object() override { return --depth_, true; }
  bool end_array() override {
    if (in_pair() && at_ != 2) fail(fmt::format("the pair of {} ends before its label", in_quotes(picture_)));
    return --depth_, true;
  }
  bool key(string_t& text) override {
    if (depth_ != 1) return true;
    if (text == "labels" && seen_) fail("\"labels\" occurs twice");
    seen_ = seen_ || text == "labels";
    key_ = text;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& e) override { fail("not JSON: " + one_line(e.what(), 160)); }

  NamedLabels finish() {
    if (!seen_) fail("it has no \"labels\": write {\"labels\": null} for images without labels");
    if (!labelled_) return std::move(out_);
    std::int64_t without = 0, first = -1;
    for (std::int64_t i = 0; i < count_; ++i)
      if (out_.labels[std::size_t(i)] < 0 && without++ == 0) first = i;
    if (without > 0)
      fail(fmt::format("no label for {} of {} images, the first is {}: add them, or write \"labels\": null", without, count_, in_quotes(name_(first))));
    if (extra_ > 0) out_.notes.push_back(fmt::format("{}: {} labels of missing images, the first is {}", file_, extra_, first_extra_));
    return std::move(out_);
  }

 private:
  enum class Kind { null, number, text, list, object, other };

  [[noreturn]] void fail(const std::string& what) const { throw FileError(fmt::format("{}: {}", file_, what)); }
  bool in_pair() const { return key_ == "labels" && depth_ == 3; }

  // Fails if a value of this kind is not allowed at this place. Below other keys every value is allowed.
  bool expect(Kind kind, std::string_view text) const {
    if (!belongs(kind)) refuse(kind == Kind::text ? in_quotes(text) : std::string(text));
    return true;
  }

  bool belongs(Kind kind) const {
    const bool labels = key_ == "labels", names = key_ == "class_names";
    if (depth_ == 0) return kind == Kind::object;
    if (!labels && !names) return true;
    if (depth_ == 1) return kind == Kind::list || kind == Kind::null;
    if (names) return kind == Kind::text;
    if (depth_ == 2) return kind == Kind::list;
    return kind == (at_ == 0 ? Kind::text : Kind::number) && at_ < 2;
  }

  [[noreturn]] void refuse(const std::string& what) const {
    if (depth_ == 0) fail(what + " in place of an object with \"labels\"");
    if (depth_ == 1) fail(fmt::format("{} is {}; it must be a list or null", in_quotes(key_), what));
    if (key_ == "class_names") fail(fmt::format("class name {} is {}; it must be text", out_.class_names.size(), what));
    if (depth_ == 2 || at_ == 0) fail(fmt::format("\"labels\" has {} where [name, label] belongs", what));
    fail(fmt::format("the label of {} is {}; it must be one whole number in [0, {}]", in_quotes(picture_), what, max_json_label));
  }

  bool number(std::int64_t x, const std::string& text) {
    expect(in_pair() && (x < 0 || x > max_json_label) ? Kind::other : Kind::number, text);
    if (!in_pair()) return true;
    at_ = 2;
    const std::int64_t i = find();
    if (i < 0) {
      if (extra_++ == 0) first_extra_ = in_quotes(picture_);
      return true;
    }
    std::int32_t& label = out_.labels[std::size_t(i)];
    if (label >= 0) fail(fmt::format("{} occurs twice", in_quotes(picture_)));
    label = static_cast<std::int32_t>(x);  // fits: at most max_json_label
    return true;
  }

  // The number of the sample named picture_, or -1. It is mostly the next sample; if not, a binary search finds it.
  std::int64_t find() {
    std::int64_t low = 0, high = count_;
    if (next_ < count_ && name_(next_) == picture_) return next_++;
    while (low < high) {
      const std::int64_t middle = low + (high - low) / 2;
      if (name_(middle) < picture_) low = middle + 1;
      else high = middle;
    }
    if (low == count_ || name_(low) != picture_) return -1;
    next_ = low + 1;
    return low;
  }

  std::string file_, key_, picture_, first_extra_;
  std::int64_t count_, next_ = 0, extra_ = 0;
  const Name& name_;
  int depth_ = 0, at_ = 0;  // at_: entries of the pair so far
  bool seen_ = false, labelled_ = false;
  NamedLabels out_;
};

// The characters of a text, for the parser. After each mebibyte it reports its position, so that the pages before it can be released.
class Reading {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Reading(std::string_view text, std::size_t at, const std::function<void(std::size_t)>& passed)
      : text_(text.data()), at_(at), passed_(passed ? &passed : nullptr) {}
  reference operator*() const { return text_[at_]; }
  Reading& operator++() {
    ++at_;
    if (at_ % (std::size_t{1} << 20) == 0 && passed_) (*passed_)(at_);
    return *this;
  }
  Reading operator++(int) {
    Reading before = *this;
    return ++*this, before;
  }
  bool operator==(const Reading& other) const { return at_ == other.at_; }

 private:
  const char* text_;
  std::size_t at_;
  const std::function<void(std::size_t)>* passed_;
};

}  // namespace

NamedLabels read_dataset_json(std::string_view text, const std::string& file, std::int64_t count, const Name& name,
                              const std::function<void(std::size_t)>& passed) {
  Handler handler(file, count, name);
  nlohmann::json::sax_parse(Reading(text, 0, passed), Reading(text, text.size(), {}), &handler);
  return handler.finish();
}

}  // namespace fm
