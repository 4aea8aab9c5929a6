// Completion scripts, written from the tables of parser and help. Both shells share two functions of `case` tables: the flags of a command,
// and the values of a flag. The functions that read the typed words are specific to each shell.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "apps/cli/command_line.h"

namespace fm {
namespace {

bool all_of(const std::string& text, bool (*holds)(char)) { return std::all_of(text.begin(), text.end(), holds); }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_plain(char c) { return is_lower(c) || is_upper(c) || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'; }

std::vector<std::string> pieces_of(const std::string& text, char between) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string piece; std::getline(in, piece, between);) out.push_back(piece);
  return out;
}

// Shell assignments for a value in the help's form. Words in lower case are literal, FILE and similar words mean paths, other capitals mean text of
// any kind. `choices`: literal words in any spelling.
std::string settings_of(std::string shown, std::vector<std::string> choices, bool optional) {
  const bool list = shown.ends_with(",...");
  if (list || shown.ends_with(" ...")) shown.resize(shown.size() - 4);
  bool files = false;
  for (const std::string& piece : choices.empty() ? pieces_of(shown, '|') : std::vector<std::string>()) {
    const std::string word = piece.substr(0, piece.find('['));
    files = files || word == "FILE" || word == "DIR" || word == "PATH" || word == "CKPT";
    if (all_of(piece, is_plain) && is_lower(piece.front())) choices.push_back(piece);
  }
  std::erase_if(choices, [](const std::string& word) { return word.empty() || !all_of(word, is_plain); });
  std::string out;
  if (!choices.empty()) out += fmt::format("choices='{}' ", fmt::join(choices, " "));
  if (files) out += "files=1 ";
  if (list && !choices.empty()) out += "list=1 ";
  if (optional) out += "optional=1 ";
  return out;
}

using Flags = std::vector<std::pair<std::string, std::string>>;  // each flag, such as "--steps", with its settings

constexpr const char* takes_none = "none=1 ";

Flags flags_of(const CommandInfo& info, const std::vector<Field>& fields, bool without) {
  Flags out;
  ParsedLine unused;
  const auto options = launch_options(info, unused);
  for (const LaunchOption& option : options)
    for (const std::string& flag : pieces_of(option.flags, ','))
      if (!without || std::find(std::begin(without_command), std::end(without_command), flag) != std::end(without_command))
        out.emplace_back(flag, option.value.empty() ? takes_none : settings_of(option.value, {}, false));
  const auto names = flag_names(fields, options);
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (!is_listed(fields[i], info)) continue;
    const bool is_switch = std::holds_alternative<bool*>(fields[i].value);
    std::vector<std::string> choices = fields[i].rule.choices;
    if (is_switch) choices = {"true", "false"};
    const std::string settings = settings_of(value_text(fields[i]), choices, is_switch || !fields[i].rule.alone.empty());
    for (const std::string& name : names[i]) {
      out.emplace_back("--" + name, settings);
      if (is_switch) out.emplace_back("--no-" + name, takes_none);
    }
  }
  return out;
}

// The data of a completion script: flags of each command ("" before a command), and their values.
struct Tables {
  std::map<std::string, Flags> commands;
  std::string names;                     // names of the commands; empty: the program has none
  std::string first;                     // the command of a line that begins with a flag
  std::string with_operands;             // commands that take arguments without a flag, which are files or folders; each name has spaces around it
};

Tables tables_of(const Program& program) {
  Tables t;
  for (const Command& command : program.commands) {
    t.commands[command.info.name] = flags_of(command.info, command.fields(), false);
    if (!command.info.name.empty()) t.names += (t.names.empty() ? "" : " ") + command.info.name;
    if (std::ranges::any_of(command.fields(), takes_operands)) t.with_operands += (t.with_operands.empty() ? " " : "") + command.info.name + " ";
  }
  t.first = program.default_command;
  if (!t.names.empty()) t.commands[""] = flags_of({}, {}, true);
  return t;
}

// A shell function that sets `flags` for the command $1: the common flags, and a line for each command with its other flags.
std::string flags_function(const std::string& function, const Tables& t) {
  std::map<std::string, std::size_t> uses;
  std::size_t commands = 0;
  for (const auto& [command, flags] : t.commands) {
    if (command.empty() && !t.names.empty()) continue;
    ++commands;
    for (const auto& flag : flags) ++uses[flag.first];
  }
  std::string out = function + "_flags() {  # flags of the command $1\n  flags=''\n  case \"$1\" in\n", shared;
  for (const auto& [command, flags] : t.commands) {
    const bool before = command.empty() && !t.names.empty();
    std::string own;
    for (const auto& flag : flags)
      if (before || uses[flag.first] < commands) own += (own.empty() ? "" : " ") + flag.first;
    out += fmt::format("  '{}') flags='{}'{} ;;\n", command, own, before ? "; return" : "");
  }
  for (const auto& [flag, count] : uses)
    if (count == commands) shared += " " + flag;
  return out + "  esac\n  flags=\"$flags" + shared + "\"\n}\n\n";
}

// A shell function that sets choices, files, list, optional or none for the flag $2 of the command $1; for a flag with text or a number it sets nothing.
std::string values_function(const std::string& function, const Tables& t) {
  std::map<std::string, std::map<std::string, std::set<std::string>>> taken;  // flag -> settings -> commands
  for (const auto& [command, flags] : t.commands)
    for (const auto& [flag, settings] : flags) taken[flag][settings].insert(command);
  std::map<std::string, std::string> general, special;                        // settings -> patterns
  for (const auto& [flag, ways] : taken)
    for (const auto& [settings, commands] : ways) {
      if (settings.empty() && ways.size() == 1) continue;
      std::string& patterns = ways.size() == 1 ? general[settings] : special[settings];
      if (ways.size() == 1) patterns += fmt::format("{}*' {}'", patterns.empty() ? "" : "|", flag);
      else
        for (const std::string& command : commands) patterns += fmt::format("{}'{} {}'", patterns.empty() ? "" : "|", command, flag);
    }
  std::string out = function + "_values() {  # values of the flag $2 of the command $1\n  choices='' files='' list='' optional='' none=''\n  case \"$1 $2\" in\n";
  for (const auto& patterns : {special, general})
    for (const auto& [settings, pattern] : patterns) out += fmt::format("  {}) {};;\n", pattern, settings);
  return out + "  esac\n}\n\n";
}

constexpr const char* bash_part = R"(NAME() {
  local IFS=$' \t\n' cur="${COMP_WORDS[COMP_CWORD]}" prev="" command="" flags choices files list optional none before="" equals="" word rest seen=" "
  COMPREPLY=()
  if (( COMP_CWORD > 1 )); then prev="${COMP_WORDS[COMP_CWORD-1]}"; fi
  if [[ "$cur" == "=" ]]; then equals=1 cur=""   # bash cuts --flag=value at the equals sign
  elif [[ "$prev" == "=" ]]; then equals=1 prev="${COMP_WORDS[COMP_CWORD-2]}"
  elif [[ "$cur" == --*=* ]]; then equals=1 prev="${cur%%=*}" before="${cur%%=*}=" cur="${cur#*=}"
  fi
  if [[ -n "COMMANDS" ]]; then
    if (( COMP_CWORD == 1 )) && [[ "$cur" != -* && -z "$equals" ]]; then COMPREPLY=($(compgen -W "COMMANDS" -- "$cur")); return; fi
    case "${COMP_WORDS[1]}" in -*) command="FIRST" ;; *) command="${COMP_WORDS[1]}" ;; esac
  fi
  if [[ "$prev" == -* ]]; then
    NAME_values "$command" "$prev"
    if [[ -z "$none" ]] && ! [[ -n "$optional" && -z "$equals" && ( -z "$cur" || "$cur" == -* ) ]]; then
      if [[ -n "$list" && "$cur" == *,* ]]; then before="$before${cur%,*}," cur="${cur##*,}"; fi
      COMPREPLY=($(compgen -P "$before" -W "$choices" -- "$cur"))
      if [[ -n "$files" ]]; then
        IFS=$'\n'
        COMPREPLY+=($(compgen -P "$before" -f -- "$cur"))
        compopt -o filenames 2>/dev/null
      fi
      return
    fi
  fi
  if [[ "$cur" != -* && "OPERANDS" == *" $command "* ]]; then
    IFS=$'\n'
    COMPREPLY=($(compgen -f -- "$cur"))
    compopt -o filenames 2>/dev/null
    return
  fi
  NAME_flags "$command"
  for word in $(compgen -W "$flags" -- "$cur"); do  # offers --mfd. before --mfd.loop.steps
    rest="${word#"$cur"}"
    if [[ "$rest" == *.* ]]; then word="$cur${rest%%.*}."; fi
    if [[ "$seen" != *" $word "* ]]; then seen="$seen$word " COMPREPLY+=("$word"); fi
  done
  if [[ ${#COMPREPLY[@]} == 1 && "${COMPREPLY[0]}" == *. ]]; then compopt -o nospace 2>/dev/null; fi
}

complete -F NAME PROGRAM
)";

constexpr const char* zsh_part = R"(NAME() {
  local cur="$PREFIX" prev="" command="" flags choices files list optional none equals="" word rest
  local -a whole parts
  if (( CURRENT > 2 )); then prev="${words[CURRENT-1]}"; fi
  if [[ "$cur" == --*=* ]]; then prev="${cur%%=*}" equals=1; compset -P '*='; cur="$PREFIX"; fi
  if [[ -n "COMMANDS" ]]; then
    if (( CURRENT == 2 )) && [[ "$cur" != -* && -z "$equals" ]]; then compadd -- ${=:-COMMANDS}; return; fi
    case "${words[2]}" in -*) command="FIRST" ;; *) command="${words[2]}" ;; esac
  fi
  if [[ "$prev" == -* ]]; then
    NAME_values "$command" "$prev"
    if [[ -z "$none" ]] && ! [[ -n "$optional" && -z "$equals" && ( -z "$cur" || "$cur" == -* ) ]]; then
      if [[ -n "$list" ]]; then compset -P '*,'; fi
      if [[ -n "$choices" ]]; then compadd -- ${=choices}; fi
      if [[ -n "$files" ]]; then _files; fi
      return
    fi
  fi
  if [[ "$cur" != -* && "OPERANDS" == *" $command "* ]]; then _files; return; fi
  NAME_flags "$command"
  for word in ${=flags}; do  # offers --mfd. before --mfd.loop.steps
    if [[ "$word" != "$cur"* ]]; then continue; fi
    rest="${word#"$cur"}"
    if [[ "$rest" == *.* ]]; then parts+=("$cur${rest%%.*}."); else whole+=("$word"); fi
  done
  if (( ${#whole} )); then compadd -- $whole; fi
  if (( ${#parts} )); then compadd -S '' -- ${(u)parts}; fi
}

if [[ "${funcstack[1]}" == NAME ]]; then NAME "$@"; else compdef NAME PROGRAM; fi
)";

std::string replaced(std::string text, const std::string& word, const std::string& by) {
  for (std::size_t at = 0; (at = text.find(word, at)) != std::string::npos; at += by.size()) text.replace(at, word.size(), by);
  return text;
}

}  // namespace

std::string completion_script(const Program& program, const std::string& shell) {
  const Tables tables = tables_of(program);
  const std::string function = "_" + program.name, install = fmt::format("source <({} --completion {})", program.name, shell);
  std::string part = shell == "bash" ? bash_part : zsh_part;
  part = replaced(replaced(replaced(replaced(part, "COMMANDS", tables.names), "FIRST", tables.first), "OPERANDS", tables.with_operands), "NAME", function);
  return fmt::format("{}# Completes {} in {}: {}\n\n", shell == "zsh" ? "#compdef " + program.name + "\n" : "", program.name, shell, install) +
         flags_function(function, tables) + values_function(function, tables) + replaced(part, "PROGRAM", program.name);
}

}  // namespace fm
