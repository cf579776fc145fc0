/*
 * The table of ops of one instruction set; compiled once for each.
 */
#include "ops.h"

namespace sx {
namespace SX_ISA {

#define SX_ENTRY(name) name,
const OpTable ops = {SX_FOR_EACH_OP(SX_ENTRY)};
#undef SX_ENTRY

}  // namespace SX_ISA
}  // namespace sx
