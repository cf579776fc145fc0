/*
 * The table of the scalar twins; only in the tests' library.
 */
#include "../cpu/ops.h"

namespace sx {
namespace scalar {

#define SX_ENTRY(name) name,
const OpTable ops = {SX_FOR_EACH_OP(SX_ENTRY)};
#undef SX_ENTRY

}  // namespace scalar
}  // namespace sx
