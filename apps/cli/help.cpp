// Help texts, written from the tables that the parser uses.
#include <fmt/format.h>

#include <algorithm>

#include "apps/cli/command_line.h"

namespace fm {
namespace {

constexpr size_t column = 34, width = 110, longest_value = 70;

// Wraps `text`, which begins after `at` characters of a line. Further lines are indented by `indent`.
std::string wrapped(const std::string& text, size_t at, size_t indent) {
  std::string out;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (at + end - begin > width && at > indent) {
      if (!out.empty()) out.pop_back();  // the space after the last word
      out += "\n" + std::string(indent, ' '), at = indent;
    }
    out += text.substr(begin, end - begin) + (end < text.size() ? " " : "");
    at += end - begin + 1;
    begin = end + 1;
  }
  return out + "\n";
}

// "  flags        text", the text wrapped in its column.
std::string entry(const std::string& left, const std::string& text) {
  std::string out = left.size() + 4 > column ? "  " + left + "\n" + std::string(column, ' ') : fmt::format("  {:<{}}", left, column - 2);
  return out + wrapped(text, column, column);
}

std::string paragraph(const std::string& text) { return "  " + wrapped(text, 2, 2); }

const char* value_word(const Field& field) {
  static constexpr const char* words[] = {"", "INT", "NUMBER", "TEXT", "INT,...", "NUMBER,...", "WORD,..."};
  return words[field.value.index()];
}

struct Listed {
  std::string flags, text;
  std::string group, group_help;  // its section of the config; empty for launch options
};

std::string text_of(const LaunchOption& option) {
  return option.help + (option.env.empty() ? "" : fmt::format(" [env: {}]", option.env));
}

std::string text_of(const Field& field) {
  std::string text = field.help;
  if (!field.rule.unit.empty()) text += fmt::format(" ({})", field.rule.unit);
  if (const std::string rule = rule_text(field); field.rule.choices.empty() && !rule.empty()) text += fmt::format(" [{}]", rule);
  if (value_text(field).size() > longest_value && !field.rule.choices.empty())
    text += fmt::format(": {}", fmt::join(field.rule.choices, ", "));
  const std::string value = to_text(field);
  return text + fmt::format(" [default: {}]", value.empty() ? "none" : value);
}

std::string with_value(const std::string& flags, const LaunchOption& option) { return flags + (option.value.empty() ? "" : " " + option.value); }

std::string with_value(const std::string& flags, const Field& field) {
  std::string value = value_text(field);
  if (value.empty()) return flags;
  if (value.size() > longest_value && !field.rule.choices.empty()) value = "NAME";      // text_of() lists the choices, in several lines
  return fmt::format("{} {}", flags, field.rule.alone.empty() ? value : "[" + value + "]");
}

// The first key of a path: "mfd" of "mfd.loop.steps".
std::string top(const Field& field) { return field.path.substr(0, field.path.find('.')); }

// The name under which -h lists a field: the rule's flag, else a name without a dot. Empty: -h leaves the field out.
std::string short_name(const Field& field, const std::vector<std::string>& names) {
  if (std::find(names.begin(), names.end(), field.rule.flag) != names.end()) return field.rule.flag;
  for (const std::string& name : names)
    if (name.find('.') == std::string::npos) return name;
  return "";
}

// The entries of the two help texts, in order.
struct Lists {
  std::vector<Listed> basic, launch, fields;
  std::size_t all() const { return launch.size() + fields.size(); }
};

Lists lists_of(const Command& command) {
  Lists lists;
  ParsedLine unused;
  const auto options = launch_options(command.info, unused);
  for (const LaunchOption& option : options) {
    lists.launch.push_back({with_value(option.flags, option), text_of(option), "", ""});
    if (option.basic) lists.basic.push_back(lists.launch.back());
  }
  const auto fields = command.fields();
  const auto names = flag_names(fields, options);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const Field& field = fields[i];
    if (!is_listed(field, command.info)) continue;
    const std::string flags = fmt::format("--{}", fmt::join(names[i], ", --")), name = short_name(field, names[i]);
    lists.fields.push_back({with_value(flags, field), text_of(field), field.group(), field.group_help});
    if (field.rule.basic && !name.empty()) lists.basic.push_back({with_value("--" + name, field), text_of(field), "", ""});
  }
  return lists;
}

// The text of all groups, each at the position of its first field.
std::string groups(const std::vector<Listed>& fields) {
  std::string out;
  std::vector<std::string> done;
  for (const Listed& first : fields) {
    if (std::find(done.begin(), done.end(), first.group) != done.end()) continue;
    done.push_back(first.group);
    out += first.group.empty() ? "\nConfig\n" : fmt::format("\n[{}] {}\n", first.group, first.group_help);
    for (const Listed& field : fields)
      if (field.group == first.group) out += entry(field.flags, field.text);
  }
  return out;
}

// Text about the keys and sections that are flags but are not listed.
std::string unlisted_text(const Command& command) {
  std::vector<std::string> names;
  for (const Field& field : command.fields()) {
    if (is_listed(field, command.info)) continue;
    const std::string name = field.path == top(field) ? field.path : "[" + top(field) + "]";
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  if (names.empty()) return "";
  return fmt::format("\nMore of the config: these settings are flags too, and {} lists them\n", command.info.listed_by) + paragraph(fmt::format("{}", fmt::join(names, " ")));
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

// Shows each command line once, because a program's quickstart may be the example of one of its commands.
std::string examples_of(std::vector<Example> examples, const std::string& quickstart) {
  if (!quickstart.empty()) {
    std::erase_if(examples, [&](const Example& example) { return example.command_line == quickstart; });
    examples.insert(examples.begin(), {"quickstart", quickstart});
  }
  std::string out = examples.empty() ? "" : "\nExamples\n";
  for (const Example& example : examples) out += fmt::format("  # {}\n  {}\n", example.task, example.command_line);
  return out;
}

// The arguments after a command's name.
std::string arguments_of(const Command& command) {
  std::string operands;
  for (const Field& field : command.fields())
    if (takes_operands(field)) operands = field.rule.shown + " ";
  return operands + "[--config FILE] " + (command.info.has_folder ? "[--out DIR] " : "") + "[--KEY VALUE ...]";
}

}  // namespace

bool is_listed(const Field& field, const CommandInfo& info) {
  return std::find(info.unlisted.begin(), info.unlisted.end(), top(field)) == info.unlisted.end();
}

std::string value_text(const Field& field) {
  if (!field.rule.shown.empty()) return field.rule.shown;
  if (field.rule.choices.empty()) return value_word(field);
  const bool list = std::holds_alternative<std::vector<std::string>*>(field.value);
  return fmt::format("{}{}", rule_text(field), list ? ",..." : "");
}

std::string usage_text(const Program& program) {
  std::string out = fmt::format("{}: {}\n", program.name, program.summary);
  for (const Command& command : program.commands)
    out += fmt::format("usage: {}{}{} {}\n", program.name, command.info.name.empty() ? "" : " ", command.info.name,
                       arguments_of(command));
  if (!program.quickstart.empty()) out += fmt::format("quickstart: {}\n", program.quickstart);
  return out + fmt::format("{} -h: the most used options; --help: all\n", program.name);
}

std::string program_help(const Program& program, ParsedLine::Help help) {
  std::string out = fmt::format("{}: {}\n\nCommands\n", program.name, program.summary);
  for (const Command& command : program.commands)
    out += entry(command.info.name, command.info.help + (command.info.name == program.default_command ? " [default]" : ""));
  std::vector<Example> examples;
  if (help == ParsedLine::Help::all) {
    for (const Command& command : program.commands)
      examples.insert(examples.end(), command.info.examples.begin(), command.info.examples.end());
    out += exit_codes();
  }
  return out + examples_of(examples, program.quickstart) +
         fmt::format("\n{0} COMMAND -h: the most used options of a command; {0} COMMAND --help: all\n", program.name);
}

std::string command_help(const Program& program, const Command& command, ParsedLine::Help help) {
  const CommandInfo& info = command.info;
  const std::string full_name = info.name.empty() ? program.name : program.name + " " + info.name;
  const Lists lists = lists_of(command);
  std::vector<Example> examples = info.examples;
  const std::string quickstart = info.name.empty() ? program.quickstart : "";
  std::string out = fmt::format("{}: {}\n", full_name, info.help.empty() ? program.summary : info.help);
  out += fmt::format("usage: {} {}\n", full_name, arguments_of(command));
  if (help == ParsedLine::Help::basic) {
    out += "\nMost used options\n";
    for (const Listed& option : lists.basic) out += entry(option.flags, option.text);
    examples.resize(std::min<std::size_t>(examples.size(), quickstart.empty() ? 1 : 0));
    return out + examples_of(examples, quickstart) + fmt::format("\n--help: all {} options, and the exit codes\n", lists.all());
  }
  out += fmt::format("Values: defaults < --config{} < --set and --KEY. Integers take k M G T (1000) and Ki Mi Gi Ti (1024). --no-KEY turns a switch off.\n",
                     info.own_config ? " (left out: config.toml of the run in --out)" : "");
  out += "\nRunning\n";
  for (const Listed& option : lists.launch) out += entry(option.flags, option.text);
  return out + groups(lists.fields) + unlisted_text(command) + exit_codes() + examples_of(examples, quickstart);
}

}  // namespace fm
