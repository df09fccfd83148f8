// The error of a one-line text: what is wrong, and a caret below the column. Columns count from 0 here, from
// 1 in the message.
#pragma once

#include <string_view>

#include "comity/plugin/result.h"

namespace comity::topology {

// kInvalidArgument. Of a long text the part about the column is shown; control characters as blanks.
Status caret_error(std::string_view text, size_t column, std::string_view why);

}  // namespace comity::topology
