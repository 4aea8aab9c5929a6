// Help texts, written from the tables that the parser uses.
#include <fmt/format.h>

#include <algorithm>

#include "apps/cli/command_line.h"

namespace fm {
namespace {

constexpr size_t column = 34, width = 110;

// "  flags        text", the text wrapped in its column.
std::string entry(const std::string& left, const std::string& text) {
  std::string out = fmt::format("  {:<{}}", left, column - 2);
  size_t at = out.size();
  if (left.size() + 4 > column) out += "\n" + std::string(column, ' '), at = column;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (at + end - begin > width && at > column) {
      out.back() = '\n';  // was the space after the last word
      out += std::string(column, ' '), at = column;
    }
    out += text.substr(begin, end - begin) + (end < text.size() ? " " : "");
    at += end - begin + 1;
    begin = end + 1;
  }
  return out + "\n";
}

const char* value_word(const Field& field) {
  static constexpr const char* words[] = {"", "INT", "NUMBER", "TEXT", "INT,...", "NUMBER,...", "WORD,..."};
  return words[field.value.index()];
}

// "TEXT", "jvp|fd"; a list ends in ",...".
std::string value_text(const Field& field) {
  if (field.rule.choices.empty()) return value_word(field);
  const bool list = std::holds_alternative<std::vector<std::string>*>(field.value);
  return fmt::format("{}{}", rule_text(field), list ? ",..." : "");
}

std::string field_entry(const Field& field, const std::vector<std::string>& names) {
  std::string flags;
  for (const std::string& name : names) flags += (flags.empty() ? "--" : ", --") + name;
  if (field.value.index() != 0) flags += " " + (field.rule.alone.empty() ? value_text(field) : "[" + value_text(field) + "]");
  std::string text = field.help;
  if (!field.rule.unit.empty()) text += fmt::format(" ({})", field.rule.unit);
  if (const std::string rule = rule_text(field); field.rule.choices.empty() && !rule.empty()) text += fmt::format(" [{}]", rule);
  const std::string value = to_text(field);
  text += fmt::format(" [default: {}]", value.empty() ? "none" : value);
  return entry(flags, text);
}

std::string exit_codes() {
  return "\nExit codes\n"
         "  0    finished\n"
         "  1    failed while running\n"
         "  2    wrong flags or config\n"
         "  3    data or checkpoint cannot be read (or written)\n"
         "  4    diverged: a loss or gradient is not finite\n"
         "  75   stopped early by a signal (INT, TERM, HUP, USR1, XCPU) or --max-time; a checkpoint is saved, the same command resumes from it\n"
         "  76   another rank was lost; the same command resumes from the last checkpoint\n"
         "  130, 143   a second SIGINT or SIGTERM: ended at once, nothing saved\n";
}

// Each command line once: a program's quickstart may be the example of one of its commands.
std::string examples_of(std::vector<Example> examples, const std::string& quickstart) {
  if (!quickstart.empty()) {
    std::erase_if(examples, [&](const Example& example) { return example.command_line == quickstart; });
    examples.insert(examples.begin(), {"quickstart", quickstart});
  }
  std::string out = examples.empty() ? "" : "\nExamples\n";
  for (const Example& example : examples) out += fmt::format("  # {}\n  {}\n", example.task, example.command_line);
  return out;
}

// What may follow a command's name.
std::string arguments_of(const CommandInfo& command) {
  return std::string("[--config FILE] ") + (command.has_folder ? "[--out DIR] " : "") + "[--KEY VALUE ...]";
}

}  // namespace

std::string usage_text(const Program& program) {
  std::string out = fmt::format("{}: {}\n", program.name, program.summary);
  for (const Command& command : program.commands)
    out += fmt::format("usage: {}{}{} {}\n", program.name, command.info.name.empty() ? "" : " ", command.info.name,
                       arguments_of(command.info));
  if (!program.quickstart.empty()) out += fmt::format("quickstart: {}\n", program.quickstart);
  return out + fmt::format("{} --help tells more.\n", program.name);
}

std::string program_help(const Program& program) {
  std::string out = fmt::format("{}: {}\n\nCommands ({} COMMAND --help lists its flags)\n", program.name, program.summary, program.name);
  for (const Command& command : program.commands)
    out += entry(command.info.name, command.info.help + (command.info.name == program.default_command ? " [default]" : ""));
  std::vector<Example> examples;
  for (const Command& command : program.commands)
    examples.insert(examples.end(), command.info.examples.begin(), command.info.examples.end());
  return out + exit_codes() + examples_of(examples, program.quickstart);
}

std::string command_help(const Program& program, const Command& command) {
  const CommandInfo& info = command.info;
  const std::string full_name = info.name.empty() ? program.name : program.name + " " + info.name;
  std::string out = fmt::format("{}: {}\n", full_name, info.help.empty() ? program.summary : info.help);
  out += fmt::format("usage: {} {}\n", full_name, arguments_of(info));
  out += fmt::format("Values: defaults < --config{} < --set and --KEY. Integers take k M G T (1000) and Ki Mi Gi Ti (1024).\n",
                     info.own_config ? " (left out: config.toml of the run in --out)" : "");
  ParsedLine unused;
  const auto options = launch_options(info, unused);
  out += "\nRunning\n";
  for (const LaunchOption& option : options)
    out += entry(option.flags + (option.value.empty() ? "" : " " + option.value),
                 option.help + (option.env.empty() ? "" : fmt::format(" [env: {}]", option.env)));
  const auto fields = command.fields();
  const auto names = flag_names(fields, options);
  std::vector<std::string> done;
  for (const Field& first : fields) {
    const std::string group = first.group();
    if (std::find(done.begin(), done.end(), group) != done.end()) continue;
    done.push_back(group);
    out += group.empty() ? "\nConfig\n" : fmt::format("\n[{}] {}\n", group, first.group_help);
    for (size_t i = 0; i < fields.size(); ++i)
      if (fields[i].group() == group) out += field_entry(fields[i], names[i]);
  }
  return out + exit_codes() + examples_of(info.examples, info.name.empty() ? program.quickstart : "");
}

}  // namespace fm
