// The names of the stages, as the config's sections, the commands, the folders of a run and the keys of random numbers use them. Only the
// table of stages (stages.h) and code that is about one stage alone need them: everything else iterates over the table.
// tests/stage_names.sh refuses these literals elsewhere.
#pragma once

namespace fm::stage_name {

inline constexpr const char* judge = "judge";
inline constexpr const char* encoder = "encoder";
inline constexpr const char* decoder = "decoder";
inline constexpr const char* vae = "vae";
inline constexpr const char* encode = "encode";
inline constexpr const char* stats = "stats";
inline constexpr const char* fm = "fm";
inline constexpr const char* cmt = "cmt";
inline constexpr const char* mfd = "mfd";
inline constexpr const char* mft = "mft";
inline constexpr const char* map = "map";

}  // namespace fm::stage_name
