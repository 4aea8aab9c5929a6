#include "data/report/sessions.h"

#include <fmt/format.h>

#include <cmath>
#include <ctime>
#include <limits>
#include <nlohmann/json.hpp>

#include "data/report/numbers.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

using Json = nlohmann::ordered_json;

std::string text_in(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

std::optional<std::int64_t> integer_in(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number_integer() ? std::optional(found->get<std::int64_t>()) : std::nullopt;
}

Session session_of(const Json& json) {
  Session s{.started = text_in(json, "started"), .ended = text_in(json, "ended"), .version = text_in(json, "version"), .git = text_in(json, "git"),
            .compiler = text_in(json, "compiler"), .build_flags = text_in(json, "build_flags"), .host = text_in(json, "host"), .cpu = text_in(json, "cpu"),
            .instructions = text_in(json, "instructions"), .device = text_in(json, "device")};
  s.cores = integer_in(json, "cores").value_or(0), s.threads = integer_in(json, "threads").value_or(0), s.ranks = integer_in(json, "ranks").value_or(0);
  s.seed = integer_in(json, "seed"), s.resumed_from_step = integer_in(json, "resumed_from_step");
  s.exit_code = integer_in(json, "exit_code"), s.last_step = integer_in(json, "last_step");
  if (const auto words = json.find("command_line"); words != json.end() && words->is_array())
    for (const Json& word : *words)
      if (word.is_string()) s.command_line.push_back(word.get<std::string>());
  return s;
}

// Seconds since 1970; NaN for a text that is no local time.
double seconds_at(const std::string& local) {
  std::tm time{};
  const char* end = strptime(local.c_str(), "%Y-%m-%d %H:%M:%S", &time);
  time.tm_isdst = -1;
  return end == nullptr || *end != 0 ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(std::mktime(&time));
}

std::string counted(std::int64_t n, const char* what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); }

void add(std::string& text, const std::string& before, const std::string& part) {
  if (!part.empty()) text += (text.empty() ? "" : before) + part;
}

// The word itself if a shell reads it as one word, else in single quotes.
std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=,+@%-") == std::string::npos;
  if (plain) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

}  // namespace

std::vector<Session> read_sessions(const std::filesystem::path& run_json) {
  std::error_code none;
  if (!std::filesystem::exists(run_json, none)) return {};
  const Json json = Json::parse(read_file(run_json), nullptr, false);
  if (!json.is_object() || !json.contains("sessions") || !json["sessions"].is_array()) return {};
  std::vector<Session> sessions;
  for (const Json& one : json["sessions"])
    if (one.is_object()) sessions.push_back(session_of(one));
  return sessions;
}

std::string machine_text(const Session& s) {
  std::string text;
  if (!s.cpu.empty()) text = s.cpu + (s.cores > 0 ? " with " + counted(s.cores, "core") : "") + (s.instructions.empty() ? "" : " (" + s.instructions + ")");
  if (s.threads > 0) add(text, ", ", counted(s.threads, "thread"));
  if (s.ranks > 1) add(text, " in each of ", counted(s.ranks, "rank"));
  add(text, "; ", s.device.empty() ? "" : "device " + s.device);
  return s.host.empty() ? text : "on " + s.host + (text.empty() ? "" : ": " + text);
}

std::string build_text(const Session& s) {
  std::string text = s.version.empty() ? "" : "flowmap " + s.version;
  add(text, " of ", s.git.empty() ? "" : "git " + s.git);
  add(text, ", ", s.compiler);
  add(text, ", ", s.build_flags);
  return text;
}

std::string command_text(const Session& s) {
  std::string text;
  for (const std::string& word : s.command_line) add(text, " ", quoted(word));
  return text;
}

std::string session_text(const Session& s) {
  std::string text = s.started.empty() ? "" : "started " + s.started;
  if (s.resumed_from_step) add(text, ", ", fmt::format("resumed from step {}", *s.resumed_from_step));
  if (s.ended.empty()) return add(text, ", ", "no end is recorded: the process was killed, or still runs"), text;
  add(text, ", ", "ended " + s.ended);
  if (s.last_step) text += fmt::format(" at step {}", *s.last_step);
  if (s.exit_code) text += fmt::format(" with exit code {}", *s.exit_code);
  if (const double seconds = seconds_at(s.ended) - seconds_at(s.started); std::isfinite(seconds)) text += " after " + duration_text(seconds);
  return text;
}

double seconds_of(const std::vector<Session>& sessions, double last_row) {
  double all = 0;
  bool known = false;
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    const bool last = i + 1 == sessions.size();
    const double begin = seconds_at(sessions[i].started);
    const double end = !sessions[i].ended.empty() ? seconds_at(sessions[i].ended) : last ? last_row : std::numeric_limits<double>::quiet_NaN();
    if (!(end >= begin)) continue;
    all += end - begin, known = true;
  }
  return known ? all : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace fm
